package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestTimingsOfTheElection(t *testing.T) {
	for name, test := range map[string]struct {
		timings election
		want    string // empty: accepted
	}{
		"short":                               {election{2 * time.Second, 1500 * time.Millisecond, time.Second}, ""},
		"long":                                {election{137 * time.Second, 107 * time.Second, 26 * time.Second}, ""},
		"the Lease would say 2s":              {election{2900 * time.Millisecond, 2500 * time.Millisecond, time.Second}, "lease-duration"},
		"no lease":                            {election{0, -2 * time.Second, -3 * time.Second}, "lease-duration"},
		"two leaders at once":                 {election{10 * time.Second, 10 * time.Second, 2 * time.Second}, "renew-deadline"},
		"no pause":                            {election{15 * time.Second, 10 * time.Second, 0}, "retry-period"},
		"no second try, just":                 {election{15 * time.Second, 12 * time.Second, 10 * time.Second}, "retry-period"},
		"a second try, just":                  {election{15 * time.Second, 12*time.Second + 1, 10 * time.Second}, ""},
		"no deadline: it is below the pauses": {election{15 * time.Second, 0, time.Second}, "retry-period"},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.timings.check()
			if test.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
			} else if err == nil || !strings.HasPrefix(err.Error(), "--leader-election-"+test.want+":") {
				t.Errorf("%v, want an error about --leader-election-%s", err, test.want)
			}
		})
	}
}

func TestDefaultTimingsOfTheElectionAreAccepted(t *testing.T) {
	var timings election
	timings.bind(pflag.NewFlagSet("", pflag.ContinueOnError))
	if err := timings.check(); err != nil || timings.leaseDuration == 0 {
		t.Errorf("%+v: %v", timings, err)
	}
}
