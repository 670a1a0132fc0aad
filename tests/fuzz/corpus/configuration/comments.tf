/* variable "a" {} */ variable "b" {} // output "c" {}
# output "d" {}
/**/output/*"e"*/"f"{/*
*/value=1}
