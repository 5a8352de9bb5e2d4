// Package app is a small web application and the gateway in front of it, in one origin: the page, the issuer's endpoints
// for browsers, and an API that only good tokens reach.
package app

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/keyturn/keyturn/examples/browser/web"
)

// The bounds of what the example takes from a browser, and of how long it waits for Keyturn.
const (
	// maxBodyBytes is the longest body of a request.
	maxBodyBytes = 64 << 10
	// keyturnTimeout is how long Keyturn may take to begin an answer.
	keyturnTimeout = 10 * time.Second
)

// Options are what the example has to know.
type Options struct {
	// Keyturn is where Keyturn's HTTPS server is reached, such as https://keyturn-webhook.keyturn-system.svc.
	Keyturn *url.URL
	// Transport makes the connections to Keyturn. Default: one that trusts the system's authorities.
	Transport http.RoundTripper
	// IssuerPath is the path of the issuer's URL, such as /shop; empty where it has none. The host of the issuer's URL
	// is the one that the browser shows.
	IssuerPath string
	// Audience is what a token must be made for to reach the API. Default: what the issuer requires.
	Audience string
}

// New returns the handler of everything below the origin.
func New(options Options) (http.Handler, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	if options.Transport == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.ResponseHeaderTimeout = keyturnTimeout
		options.Transport = transport
	}
	page, err := renderPage(options.IssuerPath)
	if err != nil {
		return nil, err
	}
	proxy := newProxy(options)
	api := http.NewServeMux()
	api.HandleFunc("GET /api/orders", orders)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "index.html", time.Time{}, bytes.NewReader(page))
	})
	for _, name := range []string{"style.css", "icon.svg", "keyturn.js", "page.js"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, web.Files, name)
		})
	}
	// What browsers need of the issuer, and no more: its other endpoints are for workloads, which reach Keyturn directly.
	mux.Handle(options.IssuerPath+"/session/", proxy)
	mux.Handle(options.IssuerPath+"/.well-known/", proxy)
	mux.Handle("/api/", newGuard(options, api))
	return secured(http.MaxBytesHandler(mux, maxBodyBytes)), nil
}

func (o *Options) check() error {
	if o.Keyturn == nil || o.Keyturn.Scheme != "https" || o.Keyturn.Host == "" {
		return errors.New("the address of Keyturn must be an https URL, such as https://localhost:9443")
	}
	path := o.IssuerPath
	plain := strings.HasPrefix(path, "/") && !strings.HasSuffix(path, "/") && !strings.ContainsAny(path, "{} ?#%")
	if path != "" && !plain {
		return fmt.Errorf("the issuer's path %q must be empty or like /shop: it begins with a slash, ends without one", path)
	}
	if path == "/api" || strings.HasPrefix(path, "/api/") {
		return fmt.Errorf("the issuer's path %q is the API's: give the issuer another one", path)
	}
	return nil
}

// renderPage puts the issuer into the page.
func renderPage(issuerPath string) ([]byte, error) {
	page, err := template.ParseFS(web.Files, "index.html")
	if err != nil {
		return nil, fmt.Errorf("reading the page: %w", err)
	}
	var rendered bytes.Buffer
	if err := page.Execute(&rendered, struct{ Issuer string }{issuerPath}); err != nil {
		return nil, fmt.Errorf("rendering the page: %w", err)
	}
	return rendered.Bytes(), nil
}

// newProxy passes requests on to Keyturn. Keyturn finds the issuer by the host that the browser asked for, and counts
// failed logins by the browser's address, which it believes us if we are among its --trusted-proxies.
func newProxy(options Options) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(options.Keyturn)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: options.Transport,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			log.Printf("passing a request on to Keyturn: %v", err)
			unavailable(w)
		},
	}
}

// unavailable tells the browser that it is not its fault and to come again: only invalid_grant ends a login.
func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	writeJSON(w, http.StatusServiceUnavailable, map[string]string{
		"error": "temporarily_unavailable", "error_description": "Keyturn cannot be reached. Try again in a moment.",
	})
}

// contentSecurityPolicy lets the page load its own files and talk to its own origin. A script that got into the page by
// a mistake would not run, so nothing reads the access token out of its memory. form-action keeps a password from being
// sent by the form itself, should its script not have loaded.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// secured sets the headers that make a browser strict.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", contentSecurityPolicy)
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}
