package remotejwks

import (
	"net/http"
	"testing"
	"time"
)

func TestRefreshAfter(t *testing.T) {
	tests := map[string]struct {
		interval, staleness, maxAge time.Duration
		chance                      float64
		want                        time.Duration
	}{
		"the interval":                      {10 * time.Minute, 24 * time.Hour, unlimited, 0, 10 * time.Minute},
		"less a tenth at most":              {10 * time.Minute, 24 * time.Hour, unlimited, 1, 9 * time.Minute},
		"a shorter max-age shortens it":     {10 * time.Minute, 24 * time.Hour, 5 * time.Minute, 0, 5 * time.Minute},
		"a longer one does not lengthen it": {10 * time.Minute, 24 * time.Hour, time.Hour, 0, 10 * time.Minute},
		"never below a minute":              {10 * time.Minute, 24 * time.Hour, 0, 0, time.Minute},
		"also not by chance":                {time.Minute, 24 * time.Hour, unlimited, 1, time.Minute},
		"twice before it would be stale":    {10 * time.Minute, 6 * time.Minute, unlimited, 0, 3 * time.Minute},
		"even if that is under a minute":    {time.Minute, time.Minute, unlimited, 0, 30 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			source := Source{RefreshInterval: test.interval, MaxStaleness: test.staleness}
			if got := refreshAfter(source, test.maxAge, test.chance); got != test.want {
				t.Errorf("refreshAfter() = %s, want %s", got, test.want)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 6: 32 * time.Second, 7: time.Minute, 8: time.Minute, 1 << 40: time.Minute,
	} {
		if got := retryAfter(failures, 0); got != want {
			t.Errorf("retryAfter(%d) = %s, want %s", failures, got, want)
		}
		if got := retryAfter(failures, 1); got != max(want*9/10, time.Second) {
			t.Errorf("retryAfter(%d) with all the jitter = %s, want a tenth less than %s, and a second at least", failures, got, want)
		}
	}
}

func TestMaxAge(t *testing.T) {
	tests := map[string]struct {
		cacheControl []string
		age          string
		want         time.Duration
	}{
		"absent":                    {nil, "", unlimited},
		"no max-age":                {[]string{"no-cache, public"}, "", unlimited},
		"alone":                     {[]string{"max-age=60"}, "", time.Minute},
		"among others":              {[]string{"public, Max-Age=120 , must-revalidate"}, "", 2 * time.Minute},
		"on the second line":        {[]string{"public", "max-age=30"}, "", 30 * time.Second},
		"quoted":                    {[]string{`max-age="30"`}, "", 30 * time.Second},
		"only for shared caches":    {[]string{"s-maxage=30"}, "", unlimited},
		"spent in part":             {[]string{"max-age=60"}, "20", 40 * time.Second},
		"spent":                     {[]string{"max-age=60"}, "3600", 0},
		"negative":                  {[]string{"max-age=-1"}, "", unlimited},
		"no number":                 {[]string{"max-age=soon"}, "", unlimited},
		"too large for a duration":  {[]string{"max-age=9223372036854775807"}, "", 365 * 24 * time.Hour},
		"an age that is none":       {[]string{"max-age=60"}, "old", time.Minute},
		"an age of another century": {[]string{"max-age=60"}, "9223372036854775807", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			header := http.Header{"Cache-Control": test.cacheControl, "Age": {test.age}}
			if got := maxAge(header); got != test.want {
				t.Errorf("maxAge() = %s, want %s", got, test.want)
			}
		})
	}
}
