package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

func TestKeysAreFetchedOnce(t *testing.T) {
	remote := newUpstream(t)
	upstreams, clk := newUpstreams()
	token := remote.token(t, nil, nil)
	var logins sync.WaitGroup
	for range 50 {
		logins.Go(func() { _ = authenticate(t, upstreams, remote.spec(), token, nil) })
	}
	logins.Wait()
	clk.Step(keysLifetime - time.Nanosecond)
	_ = authenticate(t, upstreams, remote.spec(), token, nil)
	if remote.requests() != 2 {
		t.Errorf("%d requests in 10 minutes, want one for discovery and one for the keys", remote.requests())
	}
	clk.Step(time.Nanosecond)
	_ = authenticate(t, upstreams, remote.spec(), token, nil)
	if remote.requests() != 4 {
		t.Errorf("%d requests after 10 minutes, want 4", remote.requests())
	}
}

func TestRotatedKeys(t *testing.T) {
	remote := newUpstream(t)
	upstreams, clk := newUpstreams()
	old := remote.token(t, nil, nil)
	_ = authenticate(t, upstreams, remote.spec(), old, nil)
	remote.rotate(t, "second")
	fresh := remote.token(t, nil, nil)

	_ = authenticate(t, upstreams, remote.spec(), fresh, ErrRefused)
	if remote.fetches() != 1 {
		t.Errorf("%d fetches within 5 s, want 1", remote.fetches())
	}
	clk.Step(keysPause)
	_ = authenticate(t, upstreams, remote.spec(), fresh, nil)
	_ = authenticate(t, upstreams, remote.spec(), old, ErrRefused)
	if remote.fetches() != 2 {
		t.Errorf("%d fetches, want another for the new key", remote.fetches())
	}
}

// TestWithdrawnKeyIsForgotten: nothing names a new key, and the old one goes nevertheless.
func TestWithdrawnKeyIsForgotten(t *testing.T) {
	remote := newUpstream(t)
	upstreams, clk := newUpstreams()
	old := remote.token(t, nil, nil)
	_ = authenticate(t, upstreams, remote.spec(), old, nil)
	remote.rotate(t, "second")
	clk.Step(keysLifetime - time.Nanosecond)
	_ = authenticate(t, upstreams, remote.spec(), old, nil)
	clk.Step(time.Nanosecond)
	_ = authenticate(t, upstreams, remote.spec(), old, ErrRefused)
}

func TestUnknownKeysDoNotHammer(t *testing.T) {
	remote := newUpstream(t)
	upstreams, clk := newUpstreams()
	good := remote.token(t, nil, nil)
	_ = authenticate(t, upstreams, remote.spec(), good, nil)
	for i := range 100 {
		clk.Step(time.Second)
		_ = authenticate(t, upstreams, remote.spec(), remote.token(t, nil, edit{"kid": fmt.Sprint(i)}), ErrRefused)
	}
	if fetches := remote.fetches(); fetches != 1+100/5 {
		t.Errorf("%d fetches in 100 s, want one in 5", fetches)
	}
	_ = authenticate(t, upstreams, remote.spec(), good, nil)
}

// TestUpstreamThatFails: what it answers is told as our failure, and asked for once in 5 s.
func TestUpstreamThatFails(t *testing.T) {
	elsewhere := newUpstream(t)
	body := func(text []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) }
	}
	broken := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	huge := body(bytes.Repeat([]byte(" "), 2<<20))
	tests := map[string]struct {
		path   string
		answer http.HandlerFunc
		spec   func(*v1alpha1.UpstreamLogin)
		// want is a part of the error, for the log.
		want string
	}{
		"no discovery document": {path: discoveryPath, answer: http.NotFound, want: "login.upstreams[].issuerURL"},
		"an error":              {path: keysPath, answer: broken, want: "502"},
		"no JSON":               {path: keysPath, answer: body([]byte("<html>")), want: "not a JWK Set"},
		"no keys":               {path: keysPath, answer: body([]byte(`{"keys":[]}`)), want: "no key"},
		"a huge document":       {path: discoveryPath, answer: huge, want: "larger than"},
		"huge keys":             {path: keysPath, answer: huge, want: "larger than"},
		"the document of another issuer": {
			path:   discoveryPath,
			answer: func(w http.ResponseWriter, r *http.Request) { elsewhere.answers[discoveryPath](w, r) },
			want:   "not of",
		},
		"a redirect to elsewhere": {
			path: keysPath, want: "another host",
			answer: http.RedirectHandler(elsewhere.URL+keysPath, http.StatusFound).ServeHTTP,
		},
		"a redirect to http": {
			path: keysPath,
			answer: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://"+r.Host+keysPath, http.StatusFound)
			},
			want: "only https",
		},
		"a CA that did not sign its certificate": {
			spec: func(spec *v1alpha1.UpstreamLogin) { spec.CABundle = "" }, want: "login.upstreams[].caBundle",
		},
		"a CA bundle that is none": {
			spec: func(spec *v1alpha1.UpstreamLogin) { spec.CABundle = "garbage" }, want: "holds no certificate",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			remote := newUpstream(t)
			good := map[string]http.HandlerFunc{discoveryPath: remote.answers[discoveryPath], keysPath: remote.answers[keysPath]}
			upstreams, clk := newUpstreams()
			token, spec := remote.token(t, nil, nil), remote.spec()
			if test.path != "" {
				remote.handle(test.path, test.answer)
			}
			if test.spec != nil {
				test.spec(&spec)
			}
			err := authenticate(t, upstreams, spec, token, ErrUnavailable)
			if err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want it to say %q", err, test.want)
			}
			if test.path == "" {
				return // the spec is at fault, and goes on being so
			}
			asked := remote.requests()
			clk.Step(keysPause - time.Nanosecond)
			for range 20 {
				_ = authenticate(t, upstreams, spec, token, ErrUnavailable)
			}
			if remote.requests() != asked {
				t.Errorf("%d more requests within 5 s of a failure, want none", remote.requests()-asked)
			}
			remote.handle(test.path, good[test.path])
			clk.Step(time.Nanosecond)
			_ = authenticate(t, upstreams, spec, token, nil)
		})
	}
	if elsewhere.requests() != 0 {
		t.Errorf("%d requests to where a redirect leads, want none", elsewhere.requests())
	}
}

func TestUpstreamAtAnInternalAddress(t *testing.T) {
	remote := newUpstream(t)
	for name, allowed := range map[string][]netip.Prefix{
		"none is allowed": nil, "another is allowed": {netip.MustParsePrefix("127.0.0.2/32")},
	} {
		t.Run(name, func(t *testing.T) {
			_, clk := newUpstreams()
			upstreams := NewUpstreams(UpstreamOptions{Clock: clk, AllowedInternal: allowed})
			err := authenticate(t, upstreams, remote.spec(), remote.token(t, nil, nil), ErrUnavailable)
			if err != nil && !strings.Contains(err.Error(), "--allow-internal-addresses") {
				t.Errorf("error %v, want it to name the flag", err)
			}
		})
	}
	if remote.requests() != 0 {
		t.Error("the server was asked")
	}
}

func TestUpstreamThatAnswersSlowly(t *testing.T) {
	remote := newUpstream(t)
	upstreams, clk := newUpstreams()
	asked := make(chan struct{}, 1)
	remote.handle(keysPath, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	specs, token := []v1alpha1.UpstreamLogin{remote.spec()}, remote.token(t, nil, nil)
	failed := make(chan error, 1)
	go func() {
		_, err := upstreams.Authenticate(context.Background(), specs, token)
		failed <- err
	}()
	<-asked
	leaving, leave := context.WithCancel(t.Context())
	leave()
	_, err := upstreams.Authenticate(leaving, specs, token)
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("a request that ends while it waits: %v, want ErrUnavailable because of that", err)
	}
	clk.Step(10 * time.Second)
	if err := <-failed; !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "within 10s") {
		t.Errorf("error %v, want ErrUnavailable after 10 s", err)
	}
	if remote.fetches() != 1 {
		t.Errorf("%d fetches, want 1", remote.fetches())
	}
}

// TestUpstreamThatGoesAway: the keys that were fetched last are used for an hour.
func TestUpstreamThatGoesAway(t *testing.T) {
	remote := newUpstream(t)
	upstreams, clk := newUpstreams()
	token := remote.token(t, edit{"exp": seconds + 86400}, nil)
	_ = authenticate(t, upstreams, remote.spec(), token, nil)
	remote.handle(keysPath, http.NotFound)
	clk.Step(keysLifetime)
	for range 20 {
		_ = authenticate(t, upstreams, remote.spec(), token, nil)
	}
	if remote.fetches() != 2 {
		t.Errorf("%d fetches, want the first and one that failed", remote.fetches())
	}
	clk.Step(keysStaleness - keysLifetime - time.Nanosecond)
	_ = authenticate(t, upstreams, remote.spec(), token, nil)
	clk.Step(time.Nanosecond)
	_ = authenticate(t, upstreams, remote.spec(), token, ErrUnavailable)
}

// TestKeysOfOneCABundle: a spec that trusts other authorities does not profit from what was fetched under this one.
func TestKeysOfOneCABundle(t *testing.T) {
	remote := newUpstream(t)
	upstreams, _ := newUpstreams()
	token, other := remote.token(t, nil, nil), remote.spec()
	other.CABundle = ""
	_ = authenticate(t, upstreams, remote.spec(), token, nil)
	_ = authenticate(t, upstreams, other, token, ErrUnavailable)
	_ = authenticate(t, upstreams, remote.spec(), token, nil)
}

func TestUpstreamsHaveTheRealTime(t *testing.T) {
	if _, ok := NewUpstreams(UpstreamOptions{}).clock.(clock.RealClock); !ok {
		t.Error("without a clock in the options, it is not the real one")
	}
}
