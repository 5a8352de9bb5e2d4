package revocation

import (
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// durations are how long something took each time, to a thousandth.
type durations struct{ *hdrhistogram.Histogram }

func newDurations() durations { return durations{hdrhistogram.New(1, time.Minute.Nanoseconds(), 3)} }

func (d durations) add(b *testing.B, took time.Duration) {
	if err := d.RecordValue(took.Nanoseconds()); err != nil {
		b.Error(err)
	}
}

// report reports the longest, and what one in ten thousand exceeds.
func (d durations) report(b *testing.B, what string) {
	b.ReportMetric(float64(d.Max()), "max-"+what+"-ns")
	b.ReportMetric(float64(d.ValueAtQuantile(99.99)), "p99.99-"+what+"-ns")
}

// threadTime returns how long the processor has worked for this thread, which the caller must be locked to. Unlike the
// time of a clock it does not go on while another program has the processor.
func threadTime(b *testing.B) time.Duration {
	var spent unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &spent); err != nil {
		b.Fatal(err)
	}
	return time.Duration(spent.Nano())
}
