// Package digits writes numbers for people, with as many digits as are worth reading.
package digits

import (
	"fmt"
	"math"
	"strconv"
)

// Fixed is a number with so many decimals.
func Fixed(v float64, decimals int) string { return fmt.Sprintf("%.*f", decimals, v) }

// Places is how many decimals give the largest of some numbers at least three
// digits that count, and all of them the same number of decimals. What is no
// number counts for nothing.
func Places(values ...float64) int {
	top := 0.0
	for _, v := range values {
		if !math.IsNaN(v) {
			top = max(top, math.Abs(v))
		}
	}
	switch {
	case top >= 100:
		return 1
	case top >= 10 || top == 0:
		return 2
	case top >= 1:
		return 3
	}
	places := 4
	for ; top < 0.1 && places < 9; top *= 10 {
		places++
	}
	return places
}

// Percent keeps a share that is nearly nothing, or nearly all, from reading as
// exactly that.
func Percent(v float64) string {
	switch {
	case v > 0 && v < 0.05:
		return "<0.1"
	case v < 100 && v >= 99.95:
		return ">99.9"
	}
	return Fixed(v, 1)
}

// Signed is a change in percent.
func Signed(percent float64) string {
	if math.IsNaN(percent) {
		return "?"
	}
	return fmt.Sprintf("%+.2f%%", percent)
}

// Exact has the digits that give back the same number; nothing of what is none.
func Exact(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// Bytes are in decimal units, as Gbit/s is.
func Bytes(n uint64) string {
	v, unit := float64(n), "B"
	for _, next := range []string{"kB", "MB", "GB", "TB", "PB"} {
		if v < 1000 {
			break
		}
		v, unit = v/1000, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.2f %s", v, unit)
}
