package operator

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

const megabyte = 1e6

// resident returns the memory of the operator that is resident now, in MB.
func resident(p *testoperator.Process) float64 {
	p.Helper()
	return p.Sum("process_resident_memory_bytes") / megabyte
}

var highWater = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// peakResident returns the most memory that the operator ever had resident, in MB; false where there is no /proc.
func peakResident(p *testoperator.Process) (float64, bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, false
	}
	found := highWater.FindSubmatch(status)
	if found == nil {
		return 0, false
	}
	kilobytes, err := strconv.ParseFloat(string(found[1]), 64)
	return kilobytes * 1024 / megabyte, err == nil
}

// calls returns how many requests the operator has sent to the API server, of all kinds.
func calls(p *testoperator.Process) float64 {
	p.Helper()
	return p.Sum("rest_client_requests_total")
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile returns the value below which the fraction q of the values lies, by nearest rank. It sorts them.
func quantile(values []time.Duration, q float64) time.Duration {
	slices.Sort(values)
	return values[min(int(q*float64(len(values))), len(values)-1)]
}

// stopwatch reports the seconds since a moment.
func stopwatch(b *testing.B, since time.Time, unit string) float64 {
	b.Helper()
	seconds := time.Since(since).Seconds()
	b.ReportMetric(seconds, unit)
	return seconds
}
