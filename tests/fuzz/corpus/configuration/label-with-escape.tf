variable "\u0061" {}
output "\u0062" {
  value = var.a
}
