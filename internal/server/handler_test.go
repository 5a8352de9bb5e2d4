package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
)

// testOptions are for tests that need no listener.
func testOptions() Options {
	return Options{Verifier: newFakeVerifier(), Publications: newFakePublications()}
}

func bearer(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}}
}

// serve answers one request without a connection. Host may be given in the header.
func serve(s *Server, method, target string, header http.Header) answered {
	return serveBody(s, method, target, header, "")
}

func serveBody(s *Server, method, target string, header http.Header, body string) answered {
	request := httptest.NewRequest(method, target, strings.NewReader(body))
	if body == "" {
		request.Body, request.ContentLength = http.NoBody, 0
	}
	for name, values := range header {
		request.Header[name] = values
	}
	if host := header.Get("Host"); host != "" {
		request.Host = host
	}
	recorder := httptest.NewRecorder()
	s.ServeHTTP(recorder, request)
	response := recorder.Result()
	return answered{response, recorder.Body.String()}
}
