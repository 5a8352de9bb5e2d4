package footprint

import (
	"cmp"
	"maps"
	"slices"
	"testing"
)

// listed is how many modules have a line of their own.
const listed = 15

// BenchmarkBinary reports the size of the operator as it is in the image, and of the least that is made with
// controller-runtime. reflect-methods counts what calls a method by a name that is not known before: where anything
// does, the linker has to keep every method of every type that is in use.
func BenchmarkBinary(b *testing.B) {
	sizes, err := strippedSizes()
	if err != nil {
		b.Fatal(err)
	}
	nothing(b)
	b.ReportMetric(sizes.operator/1e6, "stripped-MB")
	b.ReportMetric(sizes.floor/1e6, "floor-MB")
	b.ReportMetric(sizes.operator/sizes.floor, "operator/floor")
	b.ReportMetric(sizes.reflectMethods, "reflect-methods")
}

// BenchmarkDependency reports what the largest modules have of the program, and beside it what they have of the floor,
// where no choice of the operator's takes it away.
func BenchmarkDependency(b *testing.B) {
	parts, err := dependencies()
	if err != nil {
		b.Fatal(err)
	}
	largest := slices.SortedFunc(maps.Keys(parts.operator), func(a, b string) int {
		return cmp.Or(cmp.Compare(parts.operator[b], parts.operator[a]), cmp.Compare(a, b))
	})
	var rest, restOfFloor float64
	for i, module := range largest {
		if i >= listed && module != own {
			rest += parts.operator[module]
			restOfFloor += parts.floor[module]
			continue
		}
		b.Run(module, func(b *testing.B) { reportKiB(b, parts.operator[module], parts.floor[module]) })
	}
	b.Run("rest", func(b *testing.B) { reportKiB(b, rest, restOfFloor) })
}

func reportKiB(b *testing.B, operator, floor float64) {
	b.Helper()
	nothing(b)
	b.ReportMetric(operator/1024, "KiB")
	b.ReportMetric(floor/1024, "floor-KiB")
}

// nothing is timed: sizes are the same every time.
func nothing(b *testing.B) {
	b.Helper()
	for b.Loop() {
	}
	b.ReportMetric(0, "ns/op")
}
