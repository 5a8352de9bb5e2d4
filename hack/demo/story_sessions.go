package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// graceIsOver is longer than the grace window of the issuer and what the clocks of two replicas may differ by.
const graceIsOver = 4 * time.Second

// granted is what a login or a refresh answers, and the cookie that comes with it.
type granted struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
	SessionID   string `json:"session_id"`
	// Error is that of a refusal (RFC 6749 section 5.2).
	Error string `json:"error"`

	cookie namedToken
}

func (s *story) peopleLogIn(ctx context.Context) error {
	s.step("An issuer with spec.sessions mints tokens itself, for people who log in. Users are in a Secret, as ingress controllers have them.")
	password, err := s.addMembers(ctx, "https://"+membersHost, "graceWindow: 1s")
	if err != nil {
		return err
	}
	login, err := json.Marshal(map[string]string{"username": carol, "password": password, "scope": "orders:read"})
	if err != nil {
		return fmt.Errorf("writing a login: %w", err)
	}
	s.login = string(login)
	s.step("Carol logs in, as the page in her browser does. The access token is in the answer, the refresh token in a cookie that no script can read.")
	if s.first, err = s.browse(ctx, "/session/login", namedToken{}, "COOKIE"); err != nil {
		return err
	}
	s.access = namedToken{"ACCESS", s.first.AccessToken}
	_, payload := s.access.parts()
	s.note("Her access token says:")
	s.output(payload)
	if err := s.verify(ctx, "/verify?scope=orders:read", s.access, allowed); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, "get", "sessions"); err != nil {
		return err
	}
	s.held("Logged in. Whoever reads the Session finds nothing in it that makes a token.")
	return nil
}

func (s *story) cookieIsExchanged(ctx context.Context) error {
	s.step("Before the access token expires the page refreshes. Every cookie is good once.")
	var err error
	if s.second, err = s.browse(ctx, "/session/refresh", s.first.cookie, "SECOND"); err != nil {
		return err
	}
	if err := differ("the cookie is exchanged", s.first.cookie.value, s.second.cookie.value); err != nil {
		return err
	}
	s.note("Had that answer been lost, the page would ask again, with the cookie that it has:")
	again, err := s.browse(ctx, "/session/refresh", s.first.cookie, "")
	if err != nil {
		return err
	}
	if err := expect("a repeated request gets the same cookie", s.second.cookie.value, again.cookie.value); err != nil {
		return err
	}
	s.held("The very same cookie: an answer that is lost logs nobody out.")
	return nil
}

func (s *story) cookieIsStolen(ctx context.Context) error {
	s.step("A thief has copied the first cookie, and uses it when the window for lost answers has closed.")
	if err := pause(ctx, graceIsOver); err != nil {
		return err
	}
	if err := s.refusedRefresh(ctx, s.first.cookie); err != nil {
		return err
	}
	s.held("Refused, and the session is over: two parties hold its tokens, and nobody can tell which of them is Carol.")
	if err := s.refusedRefresh(ctx, s.second.cookie); err != nil {
		return err
	}
	if err := s.verify(ctx, "/verify?scope=orders:read", s.access, revoked); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, "get", "sessions"); err != nil {
		return err
	}
	if err := s.auditTells(`"reuse"`); err != nil {
		return err
	}
	s.held("Her own cookie is refused too, and the access token at once, nine minutes before it expires. She logs in again; the thief cannot.")
	return nil
}

func (s *story) sessionIsDeleted(ctx context.Context) error {
	s.step("Carol logs in again. An administrator can log her out: the Session is an object like any other.")
	opened, err := s.browse(ctx, "/session/login", namedToken{}, "")
	if err != nil {
		return err
	}
	token := namedToken{"ACCESS", opened.AccessToken}
	if err := s.verify(ctx, "/verify", token, allowed); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, "delete", "session", opened.SessionID); err != nil {
		return err
	}
	if _, err := s.untilDenied(ctx, token, time.Now()); err != nil {
		return err
	}
	if err := s.verify(ctx, "/verify", token, revoked); err != nil {
		return err
	}
	s.held("Logged out, on every replica, and for good: her cookie is worth nothing.")
	return s.refusedRefreshQuietly(ctx, opened.cookie)
}

// browse posts to a session endpoint as the page of the issuer's own origin does, and returns what was granted. The cookie
// is put into a shell variable of this name, if there is one.
func (s *story) browse(ctx context.Context, path string, cookie namedToken, variable string) (granted, error) {
	a, err := s.curl(ctx, s.post(path, cookie), "Set-Cookie")
	if err != nil {
		return granted{}, err
	}
	s.output(string(a.body))
	if err := expect("the answer to "+path, http.StatusOK, a.status); err != nil {
		return granted{}, err
	}
	var g granted
	if err := json.Unmarshal(a.body, &g); err != nil {
		return granted{}, fmt.Errorf("reading the answer to %s: %w", path, err)
	}
	g.cookie = namedToken{variable, cookieOf(a.header)}
	return g, expect("the answer sets a cookie", true, g.cookie.value != "")
}

func (s *story) post(path string, cookie namedToken) question {
	q := question{
		path: path, host: membersHost, cookie: cookie, method: http.MethodPost,
		headers: []string{"Origin: https://" + membersHost, "X-CSRF: 1"},
	}
	if path == "/session/login" {
		q.body, q.bodyShown = s.login, `{\"username\":\"carol\",\"password\":\"$PASSWORD\",\"scope\":\"orders:read\"}`
	}
	return q
}

// refusedRefresh shows a refresh that must end the login.
func (s *story) refusedRefresh(ctx context.Context, cookie namedToken) error {
	a, err := s.curl(ctx, s.post("/session/refresh", cookie))
	if err != nil {
		return err
	}
	s.output(string(a.body))
	return expectInvalidGrant(a)
}

func (s *story) refusedRefreshQuietly(ctx context.Context, cookie namedToken) error {
	a, err := s.https.ask(ctx, s.post("/session/refresh", cookie))
	if err != nil {
		return err
	}
	return expectInvalidGrant(a)
}

func expectInvalidGrant(a answer) error {
	var g granted
	_ = json.Unmarshal(a.body, &g) // an answer that is no refusal has no error
	return expect("the refresh is refused", fmt.Sprint(http.StatusBadRequest, " invalid_grant"), fmt.Sprint(a.status, " ", g.Error))
}

// auditTells shows the line of the audit log that holds a text.
func (s *story) auditTells(text string) error {
	s.command("grep '" + text + "' $DEMO/audit.log")
	content, err := os.ReadFile(s.folder.audit())
	if err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, text) {
			s.output(line)
			return nil
		}
	}
	return &broken{"the audit log tells it", "a line with " + text, string(content)}
}

// cookieOf is the value of the one cookie that an answer sets.
func cookieOf(header http.Header) string {
	response := http.Response{Header: header}
	for _, cookie := range response.Cookies() {
		return cookie.Value
	}
	return ""
}

func differ(promise, a, b string) error {
	return expect(promise, true, a != b)
}

// pause waits, and says so.
func pause(ctx context.Context, duration time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(duration):
		return nil
	}
}
