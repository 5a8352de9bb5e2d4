package authserver

import (
	"cmp"
	"net/http"
	"time"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
)

// defaultCookieName is that of the API, for an issuer whose spec was never defaulted.
const defaultCookieName = "__Secure-keyturn"

// sessionPath is what the paths of the browser's endpoints have in common.
const sessionPath = "/session"

// setCookie hands a refresh token to the browser, for as long as the token is good.
func (s *Server) setCookie(c *call, token session.RefreshToken, goodUntil time.Time) {
	left := goodUntil.Sub(s.options.Clock.Now())
	cookie := c.cookie() //nolint:gosec // It sets all three attributes.
	cookie.Value, cookie.MaxAge = token.Reveal(), max(1, int(left/time.Second))
	http.SetCookie(c.w, cookie)
}

// clearCookie takes the refresh token from the browser.
func (c *call) clearCookie() {
	cookie := c.cookie() //nolint:gosec // It sets all three attributes.
	cookie.MaxAge = -1
	http.SetCookie(c.w, cookie)
}

// cookie is one without a value. It has no Domain: no other host sees it. Its path has it sent to refresh and logout, and
// to no application on the same host.
func (c *call) cookie() *http.Cookie {
	sameSite := http.SameSiteStrictMode
	if c.authority.Spec.Cookie.SameSite == v1alpha1.SameSiteLax {
		sameSite = http.SameSiteLaxMode
	}
	return &http.Cookie{ //nolint:gosec // SameSite is Strict or Lax, as the spec says.
		Name: c.cookieName(), Path: c.info.Path + sessionPath, Secure: true, HttpOnly: true, SameSite: sameSite,
	}
}

func (c *call) cookieName() string { return cmp.Or(c.authority.Spec.Cookie.Name, defaultCookieName) }

// refreshToken returns the refresh token in the cookie, or "" without one. Several cookies of the name cannot all be ours:
// a neighboring host may have set one for the whole domain, to have the browser go on in a session of its own. Which one
// is cannot be told, so none counts.
func (c *call) refreshToken() (string, *refusal) {
	switch tokens := c.refreshTokens(); len(tokens) {
	case 0:
		return "", nil
	case 1:
		return tokens[0], nil
	}
	return "", invalidRequest("The browser sent several cookies of the same name; delete the cookies of this site and log in.")
}

// maxCookies bounds how many cookies of the name a logout looks at.
const maxCookies = 4

// refreshTokens returns those in all cookies of the name, but no more than maxCookies.
func (c *call) refreshTokens() []string {
	var tokens []string
	for _, cookie := range c.r.CookiesNamed(c.cookieName()) {
		if len(tokens) < maxCookies {
			tokens = append(tokens, cookie.Value)
		}
	}
	return tokens
}
