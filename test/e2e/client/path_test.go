package main

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keyturn/keyturn/test/e2e/report"
)

// pathTo makes a path to a server with a certificate that it trusts, as the gateway does.
func pathTo(t *testing.T, use connections, handler http.HandlerFunc) (*path, *tally) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	target, err := newTarget(server.URL, "example.com", ca)
	if err != nil {
		t.Fatal(err)
	}
	counted := newTally()
	return target.path("there", use, counted), counted
}

func allow(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Auth-Subject", "alice") }

// TestEveryLostRequestIsCounted is why the suite may say that none was lost: also what net/http repeats by itself counts.
func TestEveryLostRequestIsCounted(t *testing.T) {
	for name, test := range map[string]struct {
		use connections
		// broken says which requests, counted from 1, get a broken connection instead of an answer.
		broken  func(n int64) bool
		retried int
	}{
		"kept alive, none":     {keptAlive, func(int64) bool { return false }, 0},
		"kept alive, the last": {keptAlive, func(n int64) bool { return n == 3 }, 1},
		"HTTP/2, the last":     {http2, func(n int64) bool { return n == 3 }, 1},
		"new, the first":       {alwaysNew, func(n int64) bool { return n == 1 }, 1},
		"new, twice in a row":  {alwaysNew, func(n int64) bool { return n == 1 || n == 2 }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			path, counted := pathTo(t, test.use, func(w http.ResponseWriter, r *http.Request) {
				if test.broken(requests.Add(1)) {
					panic(http.ErrAbortHandler)
				}
				allow(w, r)
			})
			for range 3 {
				if !path.verify(t.Context(), "token", "alice") {
					t.Error("a request was not answered in the end")
				}
			}
			got := counted.window().Paths["there"]
			if got.Requests != 3 || got.Retried != test.retried || got.Failed != 0 || got.Denied != 0 {
				t.Errorf("counted %+v, want 3 requests, %d of them retried", got, test.retried)
			}
		})
	}
}

func TestDenialsAreCounted(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"401":                      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"allowed as somebody else": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Auth-Subject", "bob") },
		"allowed as nobody":        func(http.ResponseWriter, *http.Request) {},
	} {
		t.Run(name, func(t *testing.T) {
			path, counted := pathTo(t, keptAlive, handler)
			if path.verify(t.Context(), "token", "alice") {
				t.Error("taken for an answer that a good token must get")
			}
			window := counted.window()
			if got := window.Paths["there"]; got.Requests != 1 || got.Denied != 1 || len(window.Troubles) != 1 {
				t.Errorf("counted %+v with the troubles %q, want one denial", got, window.Troubles)
			}
		})
	}
}

func TestWhatTheProtocolOfAPathIs(t *testing.T) {
	for use, want := range map[connections]string{keptAlive: "HTTP/1.1", http2: "HTTP/2.0", alwaysNew: "HTTP/1.1"} {
		connected := map[string]bool{}
		path, _ := pathTo(t, use, func(w http.ResponseWriter, r *http.Request) {
			if r.Proto != want {
				t.Errorf("a path of kind %d uses %s, want %s", use, r.Proto, want)
			}
			connected[r.RemoteAddr] = true
			allow(w, r)
		})
		for range 3 {
			path.verify(t.Context(), "token", "alice")
		}
		if wantConnections := map[bool]int{true: 3, false: 1}[use == alwaysNew]; len(connected) != wantConnections {
			t.Errorf("a path of kind %d makes %d connections for 3 requests, want %d", use, len(connected), wantConnections)
		}
	}
}

func TestAWindowBeginsWhereTheLastEnded(t *testing.T) {
	path, counted := pathTo(t, keptAlive, allow)
	path.verify(t.Context(), "token", "alice")
	counted.passed("shop/brisk", "k1", false)
	counted.passed("shop/brisk", "k1", true)
	counted.rejected("shop/brisk", io.ErrUnexpectedEOF)
	first := counted.window()
	want := report.Issuer{Tokens: 1, Late: 1, Rejected: 1}
	if got := first.Issuers["shop/brisk"]; got.Tokens != want.Tokens || got.Late != want.Late || got.Rejected != want.Rejected || got.Keys["k1"] != 1 {
		t.Errorf("the first window has %+v, want %+v", got, want)
	}
	if got := first.Paths["there"]; got.Requests != 1 || got.Longest <= 0 || got.Gap <= 0 {
		t.Errorf("the first window has %+v, want one request and the time that it took", got)
	}
	if len(first.Troubles) != 1 || !strings.Contains(first.Troubles[0], "unexpected EOF") {
		t.Errorf("the first window has the troubles %q, want the rejection", first.Troubles)
	}
	if second := counted.window(); len(second.Issuers)+len(second.Paths)+len(second.Troubles) != 0 {
		t.Errorf("the second window has %+v, want nothing", second)
	}
}
