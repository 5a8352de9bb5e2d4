package main

import (
	"fmt"
	"strconv"
	"time"
)

// format says how a value is shown.
type format func(float64) string

func times(v float64) string { return significant(v) + " ×" }

// nanoseconds shows a time that was measured in them, in the unit that suits it.
func nanoseconds(v float64) string {
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"s", time.Second}, {"ms", time.Millisecond}, {"µs", time.Microsecond}} {
		if v >= float64(unit.size) || -v >= float64(unit.size) {
			return significant(v/float64(unit.size)) + " " + unit.name
		}
	}
	return significant(v) + " ns"
}

func milliseconds(v float64) string { return nanoseconds(v * float64(time.Millisecond)) }
func seconds(v float64) string      { return nanoseconds(v * float64(time.Second)) }

// unit shows a value as it was measured, with the unit behind it.
func unit(name string) format {
	return func(v float64) string { return significant(v) + " " + name }
}

func plain(v float64) string   { return significant(v) }
func percent(v float64) string { return significant(100*v) + " %" }

// significant writes a number with three significant digits, and all digits of a larger one.
func significant(v float64) string {
	if v >= 100 || v <= -100 {
		return grouped(fmt.Sprintf("%.0f", v))
	}
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}

// grouped puts a comma between each three digits.
func grouped(digits string) string {
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
