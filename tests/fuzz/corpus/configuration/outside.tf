module "x" {
  source = "../../x"
}
