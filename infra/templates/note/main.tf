resource "terraform_data" "this" {
  # In place: a changed input changes output and keeps the id.
  input = {
    text = var.text
    tags = var.tags
  }

  # Not in place: the note is deleted and made again, with another id.
  triggers_replace = var.generation

  lifecycle {
    precondition {
      condition     = !var.fail
      error_message = "This note was asked to fail (fail = true)."
    }
  }
}
