"""A support desk measured by how fast it closes conversations: careful plans away from any grid."""
