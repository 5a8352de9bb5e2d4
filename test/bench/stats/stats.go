// Package stats has what several rooms do with what they measure.
package stats

import (
	"runtime"
	"slices"
)

// Median is the middle value, or the mean of the two middle ones. There must be one.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// Heap returns the bytes in use, after everything that nobody needs was collected.
func Heap() int64 {
	var memory runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&memory)
	return int64(memory.HeapAlloc) //nolint:gosec // No heap has 2 to the power of 63 bytes.
}
