package gateways

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// identityHeaders are those that an application behind a gateway trusts.
var identityHeaders = []string{"X-Auth-Subject", "X-Auth-Session", "X-Auth-Scopes", "X-Auth-Issuer", "X-Auth-Client"}

// upstream is the application behind a gateway. It answers everything with 200 and keeps what reached it.
type upstream struct {
	address string
	mu      sync.Mutex
	reached []arrived
}

// arrived is a request that a gateway let through.
type arrived struct {
	method, target string
	header         http.Header
	body           int64
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		length, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		u.reached = append(u.reached, arrived{method: r.Method, target: r.RequestURI, header: r.Header.Clone(), body: length})
	}))
	t.Cleanup(server.Close)
	u.address = server.Listener.Addr().String()
	return u
}

// take returns what has arrived since it was last called.
func (u *upstream) take() []arrived {
	u.mu.Lock()
	defer u.mu.Unlock()
	reached := u.reached
	u.reached = nil
	return reached
}
