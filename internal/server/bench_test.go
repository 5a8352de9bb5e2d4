package server

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// nowhere is a response that costs nothing.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n nowhere) WriteHeader(int)             {}

// The handler alone, for profiling. What a verification over HTTPS costs is measured in test/bench/gateway.
func BenchmarkVerifyHandler(b *testing.B) {
	issuer := newSigned(b)
	options := testOptions()
	options.Verifier = issuer.verifier()
	s := New(options)
	for name, target := range map[string]string{
		"allow": "/verify?audience=shop-api&scope=orders:read",
		"deny":  "/verify?audience=bank-api",
	} {
		b.Run(name, func(b *testing.B) {
			request := httptest.NewRequest(http.MethodGet, target, nil)
			request.Header = bearer(issuer.mint(b, nil))
			b.ReportAllocs()
			for b.Loop() {
				w := nowhere{http.Header{}}
				s.ServeHTTP(w, request)
				if len(w.header) == 0 {
					b.Fatal("no answer")
				}
			}
		})
	}
}
