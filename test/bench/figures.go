package main

import (
	"bytes"
	"fmt"
	"io"

	"golang.org/x/perf/benchfmt"
)

// figure names one thing that a benchmark reports.
type figure struct {
	// benchmark is its room and its name: verification/Verify/ES256/new.
	benchmark string
	// unit is as the benchmark says it: ns/op, B/op, or one of its own.
	unit string
}

// figures are what has been measured: one value for each round.
type figures map[figure][]float64

// read adds the output of one round of a room's benchmarks.
func (f figures) read(room string, output io.Reader) error {
	reader := benchfmt.NewReader(output, room)
	for reader.Scan() {
		result, ok := reader.Result().(*benchfmt.Result)
		if !ok {
			continue // What else a test prints.
		}
		for _, value := range result.Values {
			unit, amount := value.Unit, value.Value
			if value.OrigUnit != "" {
				unit, amount = value.OrigUnit, value.OrigValue
			}
			name := figure{room + "/" + withoutProcessors(result.Name), unit}
			f[name] = append(f[name], amount)
		}
	}
	return reader.Err()
}

// withoutProcessors leaves out the GOMAXPROCS at the end of a name, which go test adds unless it is 1.
func withoutProcessors(name benchfmt.Name) string {
	base, parts := name.Parts()
	if last := len(parts) - 1; last >= 0 && parts[last][0] == '-' {
		parts = parts[:last]
	}
	return string(base) + string(bytes.Join(parts, nil))
}

// measure is how a value of the table comes from the figures: one for each round.
type measure func(figures) ([]float64, error)

// of is what a benchmark reports.
func of(benchmark, unit string) measure {
	return func(f figures) ([]float64, error) {
		values := f[figure{benchmark, unit}]
		if len(values) == 0 {
			return nil, fmt.Errorf("no benchmark %s has reported %s", benchmark, unit)
		}
		return values, nil
	}
}

// over is the ratio of two measures, taken in each round.
func (m measure) over(other measure) measure {
	return m.with(other, func(a, b float64) float64 { return a / b })
}

// minus is the difference of two measures, taken in each round.
func (m measure) minus(other measure) measure {
	return m.with(other, func(a, b float64) float64 { return a - b })
}

func (m measure) with(other measure, combine func(a, b float64) float64) measure {
	return func(f figures) ([]float64, error) {
		a, err := m(f)
		if err != nil {
			return nil, err
		}
		b, err := other(f)
		if err != nil {
			return nil, err
		}
		if len(a) != len(b) {
			return nil, fmt.Errorf("%d values cannot be compared with %d", len(a), len(b))
		}
		combined := make([]float64, len(a))
		for i := range a {
			combined[i] = combine(a[i], b[i])
		}
		return combined, nil
	}
}
