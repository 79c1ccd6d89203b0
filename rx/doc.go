// Package rx holds the engines that receive, one file each.
package rx
