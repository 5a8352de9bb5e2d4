package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// accessLifetime is the shortest that an issuer can have, because tests wait for its end.
const accessLifetime = 10 * time.Second

// What the page shows.
const (
	showsLogin   = `!document.getElementById('login').hidden`
	showsSession = `!document.getElementById('session').hidden && document.getElementById('who').textContent === 'alice'`
)

// logShows is true when a line of the page's log begins so.
func logShows(text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('#log span')].some((line) => line.textContent.startsWith(%q))`, text)
}

// TestFlow uses the example as people do, with the built operator behind it.
func TestFlow(t *testing.T) {
	if find() == "" {
		newTab(t) // which says why there is nothing to be tested
	}
	s := newStack(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *stack)
	}{
		{"log in, call, load again", loginAndReload},
		{"a wrong password", wrongPassword},
		{"an expired token is renewed", renewal},
		{"two tabs", twoTabs},
		{"log out everywhere", everywhere},
		{"the cookie", cookie},
		{"pages of other origins", otherOrigins},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.run(t, s.of(t))
		})
	}
}

// logIn opens the page in a new profile and logs in with its form.
func (s *stack) logIn() *tab {
	s.Helper()
	b := newTab(s.TB)
	b.open(s.url)
	b.logIn(password)
	b.wantTrue(showsSession)
	return b
}

func (b *tab) logIn(password string) {
	b.Helper()
	b.wantTrue(showsLogin)
	b.run(chromedp.SetValue("#username", user), chromedp.SetValue("#password", password), chromedp.Click("#login button"))
}

func loginAndReload(_ *testing.T, s *stack) {
	b := newTab(s.TB)
	b.open(s.url)
	b.wantTrue(showsLogin)
	b.screenshots("login")
	b.logIn(password)
	b.wantTrue(showsSession)
	b.run(chromedp.Click("#call"))
	b.wantTrue(logShows("GET /api/orders: 200"))
	b.run(chromedp.Click("#calls"))
	b.wantTrue(logShows("GET /api/orders: 20 × 200"))
	b.run(chromedp.Click("summary"))
	b.screenshots("session")
	b.open(s.url)
	b.wantTrue(showsSession)
	b.wantTrue(logShows("Got a new access token with the cookie."))
}

func wrongPassword(_ *testing.T, s *stack) {
	b := newTab(s.TB)
	b.open(s.url)
	b.logIn("wrong")
	b.wantTrue(`!document.getElementById('problem').hidden`)
	b.screenshots("wrong-password")
	b.logIn(password)
	b.wantTrue(showsSession)
}

func renewal(_ *testing.T, s *stack) {
	b := s.logIn()
	b.wantTrue(`document.getElementById('countdown').textContent === 'expired'`)
	n := len(s.since(0))
	b.run(chromedp.Click("#calls"))
	b.wantTrue(logShows("GET /api/orders: 20 × 200"))
	b.wantTrue(logShows("Got a new access token with the cookie."))
	refreshes := 0
	for _, answer := range s.since(n) {
		if answer.path == issuerPath+"/session/refresh" && answer.status == http.StatusOK {
			refreshes++
		}
	}
	if refreshes != 1 {
		s.Errorf("twenty calls with an expired token caused %d refreshes, want 1", refreshes)
	}
}

func twoTabs(_ *testing.T, s *stack) {
	one := s.logIn()
	two := one.another()
	two.open(s.url)
	two.wantTrue(showsSession)
	one.wantTrue(logShows("Got a new access token from another tab."))
	for _, b := range []*tab{one, two} {
		b.run(chromedp.Click("#call"))
	}
	for _, b := range []*tab{one, two} {
		b.wantTrue(logShows("GET /api/orders: 200"))
	}
	two.run(chromedp.Click("#logout"))
	for _, b := range []*tab{one, two} {
		b.wantTrue(showsLogin)
		b.wantTrue(logShows("Logged out."))
	}
	one.open(s.url)
	one.wantTrue(showsLogin)
}

// everywhere ends the session of another browser, whose access token is denied before it expires. The same user can
// log in again at once.
func everywhere(_ *testing.T, s *stack) {
	here, elsewhere := s.logIn(), s.logIn()
	here.run(chromedp.Click("#everywhere"))
	here.wantTrue(showsLogin)
	here.logIn(password)
	here.wantTrue(showsSession)
	here.run(chromedp.Click("#call"))
	here.wantTrue(logShows("GET /api/orders: 200"))
	elsewhere.run(chromedp.Click("#call"))
	elsewhere.wantTrue(logShows("The login is over"))
	elsewhere.wantTrue(showsLogin)
}

func cookie(_ *testing.T, s *stack) {
	b := s.logIn()
	jar, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{
		URLs: []string{s.url + issuerPath + "/session/refresh", s.url + issuerPath, s.url},
	})
	if err != nil {
		s.Fatal(err)
	}
	if len(jar.Cookies) != 1 {
		s.Fatalf("there are %d cookies", len(jar.Cookies))
	}
	got := jar.Cookies[0]
	if got.Name != cookieName || got.Domain != "localhost" || got.Path != issuerPath+"/session" ||
		!got.Secure || !got.HTTPOnly || got.SameSite != network.CookieSameSiteStrict || got.Session {
		s.Errorf("%s: domain %s, path %s, Secure %v, HttpOnly %v, SameSite %s, without Max-Age %v",
			got.Name, got.Domain, got.Path, got.Secure, got.HTTPOnly, got.SameSite, got.Session)
	}
	if life := time.Until(time.Unix(int64(got.Expires), 0)); life < 71*time.Hour || life > 73*time.Hour {
		s.Errorf("the cookie lives %s, want idleLifetime, which is 72h", life)
	}
	if visible := evaluate[string](b, `document.cookie`); visible != "" {
		s.Errorf("scripts see the cookie %s", visible[:min(len(visible), 20)])
	}
	for _, answer := range s.since(0) {
		if answer.cookie && !strings.HasPrefix(answer.path, issuerPath+"/session/") {
			s.Errorf("%s got the cookie", answer.path)
		}
	}
}

// otherOrigins has pages of other origins try to use the cookie: one of another site, to which the browser gives no
// cookie, and one on another port of the same host, which is the same site, so that only Keyturn stands in its way.
func otherOrigins(t *testing.T, s *stack) {
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, `<!doctype html><title>other</title><form method="post"></form>`)
	}))
	s.Cleanup(other.Close)
	for site, origin := range map[string]string{
		"cross-site": other.URL, "same-site": strings.Replace(other.URL, "127.0.0.1", "localhost", 1),
	} {
		wantCookies := 0
		if site == "same-site" {
			wantCookies = 2 // a preflight has none
		}
		for _, endpoint := range []string{"refresh", "logout", "logout-all"} {
			t.Run(site+" "+endpoint, func(t *testing.T) {
				own := s.of(t)
				path := issuerPath + "/session/" + endpoint
				b := own.logIn()
				before, n := len(own.sessions()), len(own.since(0))
				attacker := b.another()
				attacker.open(origin)
				read := evaluate[string](attacker, fmt.Sprintf(`fetch(%q, { method: 'POST', credentials: 'include',
					headers: { 'X-CSRF': '1' } }).then(() => 'read', () => 'refused')`, s.url+path))
				if read != "refused" {
					t.Error("another origin can read the answer")
				}
				evaluate[any](attacker, fmt.Sprintf(
					`fetch(%q, { method: 'POST', mode: 'no-cors', credentials: 'include' })`, s.url+path))
				evaluate[any](attacker, fmt.Sprintf(
					`{ const form = document.forms[0]; form.action = %q; form.submit(); }`, s.url+path))
				attacker.wantTrue(fmt.Sprintf(`location.href === %q && document.readyState === 'complete'`, s.url+path))

				requests, cookies := 0, 0
				for _, answer := range own.since(n) {
					if answer.path != path || answer.site == "same-origin" {
						continue
					}
					requests++
					if answer.cookie {
						cookies++
					}
					if answer.site != site || answer.status < http.StatusBadRequest {
						t.Errorf("answered, which it must not be: %+v", answer)
					}
				}
				if requests != 3 {
					t.Errorf("%d requests came from the other origin, want a preflight, a fetch and a form", requests)
				}
				if cookies != wantCookies {
					t.Errorf("%d requests had the cookie, want %d", cookies, wantCookies)
				}
				if got := len(own.sessions()); got != before {
					t.Errorf("there were %d sessions and are %d", before, got)
				}
				b.open(own.url)
				b.wantTrue(showsSession)
			})
		}
	}
}

// screenshots takes pictures of the page into $KEYTURN_SCREENSHOTS, or to be thrown away: on a desktop and on a phone,
// light and dark. It fails where the page is wider than its window.
func (b *tab) screenshots(name string) {
	b.Helper()
	folder := os.Getenv("KEYTURN_SCREENSHOTS")
	if folder == "" {
		folder = b.TempDir()
	}
	for device, width := range map[string]int64{"desktop": 1100, "phone": 360} {
		for _, scheme := range []string{"light", "dark"} {
			b.run(chromedp.EmulateViewport(width, 800))
			if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			}); err != nil {
				b.Fatal(err)
			}
			if got := evaluate[int64](b, `document.documentElement.scrollWidth`); got > width {
				b.Errorf("the page %s is %d pixels wide in a window of %d", name, got, width)
			}
			picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
			if err != nil {
				b.Fatal(err)
			}
			file := filepath.Join(folder, strings.Join([]string{name, device, scheme}, "-")+".png")
			if err := os.WriteFile(file, picture, 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.run(chromedp.EmulateViewport(1100, 900))
}
