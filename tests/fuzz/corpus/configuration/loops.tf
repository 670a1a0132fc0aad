variable "a" { default = [for x in [for y in range(1000000) : y] : x] }
variable "b" { default = "%{ for x in y }${x}%{ endfor }" }
variable "c" { default = { (1 + 1) = 2, "a" : 3, b = 4 } }
