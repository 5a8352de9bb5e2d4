package remotejwks

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestLoad(t *testing.T) {
	tests := map[string]struct {
		answer   http.HandlerFunc
		upstream bool
		// want is a part of the error; empty for success.
		want string
	}{
		"keys": {},
		"no keys": {
			answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
			want:   "reading the keys of the issuer",
		},
		"nothing": {answer: http.NotFound, want: "404"},
		"a redirect on the host": {
			answer: http.RedirectHandler("/moved", http.StatusFound).ServeHTTP, upstream: true,
		},
		"a redirect to another host": {
			answer:   http.RedirectHandler("https://127.0.0.2/moved", http.StatusFound).ServeHTTP,
			upstream: true, want: "another host",
		},
		"a redirect to another port": {
			answer:   http.RedirectHandler("https://127.0.0.1:1/moved", http.StatusFound).ServeHTTP,
			upstream: true, want: "another host",
		},
		"a redirect to http": {
			answer: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://"+r.Host+"/moved", http.StatusFound)
			},
			upstream: true, want: "only https",
		},
		"a redirect without end": {
			answer:   http.RedirectHandler("/jwks", http.StatusFound).ServeHTTP,
			upstream: true, want: "more than 3 redirects",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			remote := newIssuer(t)
			key := p256(t, "a")
			remote.publish("/jwks", jwks(t, key))
			remote.publish("/moved", jwks(t, key))
			if test.answer != nil {
				remote.handle("/jwks", test.answer)
			}
			source := remote.source()
			source.Upstream = test.upstream
			clk := clocktesting.NewFakeClock(start)
			set, err := Load(t.Context(), source, Options{Clock: clk, AllowedInternal: loopback})
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want one with %q", err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if set.Keys["a"] == nil || !set.FetchedAt.Equal(start) || set.Stale(start) {
				t.Errorf("keys %v of %v, want the one of now", set.Keys, set.FetchedAt)
			}
		})
	}
}

func TestLoadIsBoundedInTime(t *testing.T) {
	remote := newIssuer(t)
	asked := make(chan struct{})
	remote.handle("/jwks", func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	clk := clocktesting.NewFakeClock(start)
	failed := make(chan error, 1)
	go func() {
		_, err := Load(t.Context(), remote.source(), Options{Clock: clk, AllowedInternal: loopback})
		failed <- err
	}()
	<-asked
	clk.Step(fetchTimeout)
	if err := <-failed; !errors.Is(err, errTimeout) {
		t.Errorf("error %v, want %v", err, errTimeout)
	}
}

func TestErrorsNameTheFieldsOfAnUpstream(t *testing.T) {
	remote := newIssuer(t)
	untrusted := remote.source()
	untrusted.CABundle, untrusted.Upstream = "", true
	nowhere := remote.source()
	nowhere.JWKSURL, nowhere.Upstream = "", true
	for field, source := range map[string]Source{
		"login.upstreams[].caBundle": untrusted, "login.upstreams[].issuerURL": nowhere,
	} {
		_, err := Load(t.Context(), source, Options{AllowedInternal: loopback})
		if err == nil || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "external.") {
			t.Errorf("error %v, want one that names %s and nothing of spec.external", err, field)
		}
	}
}
