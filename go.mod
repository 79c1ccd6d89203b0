module zcbench

go 1.26.0
