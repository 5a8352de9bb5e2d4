package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	// askTimeout bounds one request to the operator.
	askTimeout = 10 * time.Second
	// maxAnswerBytes bounds what is read of an answer.
	maxAnswerBytes = 1 << 20
)

// asker sends HTTPS requests to the operator, and trusts its certificate only.
type asker struct {
	url    string
	client *http.Client
}

func newAsker(url, certificate string) (*asker, error) {
	content, err := os.ReadFile(certificate) //nolint:gosec // The demo's own folder.
	if err != nil {
		return nil, fmt.Errorf("reading the operator's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("reading the operator's certificate: there is none in %s", certificate)
	}
	return &asker{url: url, client: &http.Client{
		Timeout:   askTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true},
	}}, nil
}

// question is a request as curl would send it.
type question struct {
	// path begins with a slash, and may have a query.
	path string
	// host is the header Host; empty for that of the URL.
	host string
	// token is sent as a bearer token if it has a value.
	token namedToken
	// cookie is sent as the session cookie if it has a value.
	cookie namedToken
	// headers are further ones, each as "Name: value".
	headers []string
	// method is POST where there is a body, otherwise GET, unless it is set.
	method string
	// body is JSON. bodyShown stands for it in the transcript, such as a shell variable.
	body, bodyShown string
}

// cookieName is the default of spec.sessions.cookie.name.
const cookieName = "__Secure-keyturn"

// namedToken is a token in a variable of the reader's shell, so that the token itself is not shown.
type namedToken struct {
	variable, value string
}

// answer is what came back.
type answer struct {
	protocol int
	status   int
	header   http.Header
	body     []byte
}

// ask sends the question and says nothing.
func (a *asker) ask(ctx context.Context, q question) (answer, error) {
	body := io.Reader(http.NoBody)
	if q.body != "" {
		body = strings.NewReader(q.body)
	}
	request, err := http.NewRequestWithContext(ctx, q.verb(), a.url+q.path, body)
	if err != nil {
		return answer{}, fmt.Errorf("asking the operator: %w", err)
	}
	request.Host = q.host
	if q.token.value != "" {
		request.Header.Set("Authorization", "Bearer "+q.token.value)
	}
	if q.body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if q.cookie.value != "" {
		request.AddCookie(&http.Cookie{Name: cookieName, Value: q.cookie.value}) //nolint:gosec // Attributes are for answers.
	}
	for _, header := range q.headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
	}
	response, err := a.client.Do(request)
	if ctx.Err() != nil {
		return answer{}, context.Cause(ctx)
	}
	if err != nil {
		return answer{}, fmt.Errorf("asking the operator: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return answer{}, fmt.Errorf("reading the operator's answer: %w", err)
	}
	return answer{response.ProtoMajor, response.StatusCode, response.Header, content}, nil
}

// curl shows the question as curl would send it, and of the answer the status, the named headers, and the body.
func (s *stage) curl(ctx context.Context, q question, headers ...string) (answer, error) {
	s.command(q.typed())
	a, err := s.https.ask(ctx, q)
	if err != nil {
		return a, err
	}
	s.output(fmt.Sprintf("HTTP/%d %d", a.protocol, a.status))
	for _, name := range headers {
		for _, value := range a.header.Values(name) {
			s.output(strings.ToLower(name) + ": " + value) // lower case, as HTTP/2 sends them and curl prints them
		}
	}
	return a, nil
}

// typed is the question as a command. -i shows the status and the headers.
func (q question) typed() string {
	words := []string{"curl", "-i"}
	if q.host != "" {
		words = append(words, "-H 'Host: "+q.host+"'")
	}
	if q.token.value != "" {
		words = append(words, `-H "Authorization: Bearer $`+q.token.variable+`"`)
	}
	for _, header := range q.headers {
		words = append(words, "-H '"+header+"'")
	}
	if q.cookie.value != "" {
		words = append(words, `-b "`+cookieName+"=$"+q.cookie.variable+`"`)
	}
	switch {
	case q.body != "":
		words = append(words, `--json "`+q.bodyShown+`"`)
	case q.verb() == http.MethodPost:
		words = append(words, "-X POST")
	}
	address := "$KEYTURN" + q.path
	if strings.ContainsAny(q.path, "?&") {
		address = `"` + address + `"`
	}
	return folded(append(words, address))
}

// verb is the method.
func (q question) verb() string {
	switch {
	case q.method != "":
		return q.method
	case q.body != "":
		return http.MethodPost
	default:
		return http.MethodGet
	}
}

// reason is the stable word of a denial.
func (a answer) reason() string {
	var denial struct {
		Reason string `json:"reason"`
	}
	_ = json.Unmarshal(a.body, &denial) // an answer that is no denial has no reason
	return denial.Reason
}

// judgment is what an answer of /verify comes to: the status, and the reason where it is a denial.
type judgment struct {
	status int
	reason string
}

func (j judgment) String() string { return strings.TrimSpace(fmt.Sprintf("%d %s", j.status, j.reason)) }

func (a answer) judgment() judgment { return judgment{a.status, a.reason()} }

// The judgments of the story.
var (
	allowed      = judgment{status: http.StatusOK}
	revoked      = judgment{http.StatusUnauthorized, "Revoked"}
	keyRevoked   = judgment{http.StatusUnauthorized, "KeyRevoked"}
	elsewhere    = judgment{http.StatusUnauthorized, "AudienceMismatch"}
	insufficient = judgment{http.StatusForbidden, "ScopeInsufficient"}
)

// verify shows a gateway's question and its answer, and expects a judgment.
func (s *stage) verify(ctx context.Context, path string, token namedToken, expected judgment) error {
	a, err := s.curl(ctx, question{path: path, token: token},
		"X-Auth-Subject", "X-Auth-Client", "X-Auth-Scopes", "X-Auth-Session", "X-Auth-Issuer", "WWW-Authenticate")
	if err != nil {
		return err
	}
	return expect("the answer to "+path+" with $"+token.variable, expected, a.judgment())
}
