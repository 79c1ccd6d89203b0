// Package tx holds the engines that send, one file each.
package tx
