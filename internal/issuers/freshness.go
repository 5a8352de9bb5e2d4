package issuers

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Freshness knows how old the word of the API server is. It looks at the bytes of every watch: the API server sends
// something, if only a bookmark, about once a minute, so an age of much more means that this replica hears nothing.
type Freshness struct {
	clock clock.PassiveClock

	mu    sync.Mutex
	heard map[string]time.Time // by watched path
}

// NewFreshness returns a Freshness that has heard nothing.
func NewFreshness(clk clock.PassiveClock) *Freshness {
	return &Freshness{clock: clk, heard: map[string]time.Time{}}
}

// Wrap is for rest.Config.Wrap: it listens to the watches that go through the transport.
func (f *Freshness) Wrap(transport http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		response, err := transport.RoundTrip(request)
		if err == nil && response.StatusCode == http.StatusOK && watches(request) {
			path := request.URL.Path
			f.hear(path)
			response.Body = &listened{ReadCloser: response.Body, hear: func() { f.hear(path) }}
		}
		return response, err
	})
}

// Age returns how long ago the quietest watch was heard; false while none has been.
func (f *Freshness) Age() (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var oldest time.Duration
	for _, at := range f.heard {
		oldest = max(oldest, f.clock.Since(at))
	}
	return oldest, len(f.heard) > 0
}

func (f *Freshness) hear(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard[path] = f.clock.Now()
}

// watches says whether the request opens a watch that verification depends on.
func watches(request *http.Request) bool {
	if watch := request.URL.Query().Get("watch"); watch != "true" && watch != "1" {
		return false
	}
	for _, resource := range []string{"/tokenissuers", "/tokenrevocations", "/secrets", "/sessions"} {
		if strings.HasSuffix(request.URL.Path, resource) {
			return true
		}
	}
	return false
}

type roundTripper func(*http.Request) (*http.Response, error)

func (t roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return t(request) }

type listened struct {
	io.ReadCloser
	hear func()
}

func (l *listened) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if n > 0 {
		l.hear()
	}
	return n, err
}
