package remotejwks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	// maxBody is the size of the largest document, in bytes, after decompression.
	maxBody = 1 << 20
	// maxRedirects is how many redirects one request follows.
	maxRedirects = 3
)

// statusError is an answer other than 200 OK.
type statusError struct{ code int }

func (e statusError) Error() string {
	return fmt.Sprintf("the server answered %d %s instead of 200 OK", e.code, http.StatusText(e.code))
}

// client makes one kind of request: a GET that sends nothing of ours and expects a small JSON document.
type client struct {
	http  *http.Client
	close func()
	// caField is where in the spec of the TokenIssuer the trusted authorities are.
	caField string
}

// newClient returns the client for issuers outside: https only, and only to addresses that the guard lets pass.
func newClient(source Source, allowedInternal []netip.Prefix) (*client, error) {
	var roots *x509.CertPool // nil stands for the system's
	if source.CABundle != "" {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(source.CABundle)) {
			return nil, errors.New("the CA bundle holds no certificate that can be read: put one or more into it, in PEM")
		}
	}
	dialer := &net.Dialer{ControlContext: addressGuard{allowed: allowedInternal}.control}
	transport := &http.Transport{
		// No proxy, also not from the environment: it would connect in our place, to an address that the guard never sees.
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           2,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	c := &client{
		http:    &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		close:   transport.CloseIdleConnections,
		caField: "external.caBundle",
	}
	if source.Upstream {
		c.http.CheckRedirect, c.caField = checkRedirectOnHost, "login.upstreams[].caBundle"
	}
	return c, nil
}

// newClusterClient returns the client for the cluster's own API server. It follows no redirect, because the transport
// would present the operator's credentials wherever one leads.
func newClusterClient(transport http.RoundTripper) (*client, error) {
	if transport == nil {
		return nil, errors.New("the keys of the cluster's own issuer are read through Source.Transport: set it together with BaseURL")
	}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{http: &http.Client{Transport: transport, CheckRedirect: refuse}, close: func() {}}, nil
}

// get returns the body of a 200 OK and the header that came with it.
func (c *client) get(ctx context.Context, target string) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("preparing a request to %s: %w", shown(target), bare(err))
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	request.Header.Set("User-Agent", "keyturn")
	body, header, err := c.do(request)
	if cause := context.Cause(ctx); cause != nil {
		// It says "timeout", where the transport only knows that it was canceled. And a server that hears of the end may
		// close a half-written answer as if it were complete.
		err = cause
	}
	if err != nil {
		return nil, nil, fmt.Errorf("GET %s: %w", shown(target), bare(err))
	}
	return body, header, nil
}

func (c *client) do(request *http.Request) ([]byte, http.Header, error) {
	response, err := c.http.Do(request)
	if err != nil {
		if authority := (x509.UnknownAuthorityError{}); errors.As(err, &authority) {
			return nil, nil, fmt.Errorf("%w: put the authority that signed the server's certificate into %s",
				bare(err), c.caField)
		}
		return nil, nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, nil, statusError{response.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxBody {
		return nil, nil, fmt.Errorf("the answer is larger than %d bytes", maxBody)
	}
	return body, response.Header, nil
}

// checkRedirect holds every hop to the rules of the first request. The guard sees to the address.
func checkRedirect(request *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if err := checkURL(request.URL); err != nil {
		return fmt.Errorf("redirect to %s: %w", shown(request.URL.String()), err)
	}
	request.Header.Del("Referer")
	return nil
}

// checkRedirectOnHost follows a redirect only to where the request went in the first place.
func checkRedirectOnHost(request *http.Request, via []*http.Request) error {
	if !strings.EqualFold(request.URL.Host, via[0].URL.Host) {
		return fmt.Errorf("redirect to %s: it leads to another host than %s", shown(request.URL.String()), via[0].URL.Host)
	}
	return checkRedirect(request, via)
}

// checkURL says whether the URL is one that keys may be read from.
func checkURL(target *url.URL) error {
	switch {
	case target.Scheme != "https":
		return errors.New("only https URLs are fetched")
	case target.Hostname() == "":
		return errors.New("the URL has no host")
	case target.User != nil:
		return errors.New("the URL must not have a user name or password in it")
	}
	return nil
}

// shown is the URL for people: without its query, fragment and user, any of which may hold a secret.
func shown(target string) string {
	parsed, err := url.Parse(target)
	if err != nil {
		return "a URL that cannot be parsed"
	}
	return (&url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: parsed.Path}).String()
}

// bare strips the *url.Error, whose text repeats the whole URL.
func bare(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
