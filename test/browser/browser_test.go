// Package browser runs the browser client of examples/browser in a real Chromium: the module against a scripted issuer,
// and the whole example against the built operator.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

func TestMain(m *testing.M) {
	code := testoperator.Main(m)
	chromium.stop()
	os.Exit(code)
}

// deadline bounds what a test does in a tab: seconds on an idle machine.
const deadline = 2 * time.Minute

// chromium is the browser, started at the first use and shared by all tests. Each test has a profile of its own in it.
var chromium browser

type browser struct {
	once   sync.Once
	ctx    context.Context
	cancel []context.CancelFunc
	folder string
	err    error
}

// find returns the path of Chromium or Chrome, or nothing.
func find() string {
	for _, name := range []string{os.Getenv("KEYTURN_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// start starts the browser. Everything that would make it talk to somebody other than the tests' servers is off, and
// their self-signed certificates pass.
func (b *browser) start(path string) error {
	b.once.Do(func() {
		if b.folder, b.err = os.MkdirTemp("", "keyturn-chromium-"); b.err != nil {
			return
		}
		options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
			chromedp.ExecPath(path), chromedp.UserDataDir(b.folder), chromedp.NoSandbox, chromedp.DisableGPU,
			chromedp.IgnoreCertErrors, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
		allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
		b.cancel = append(b.cancel, cancel)
		b.ctx, cancel = chromedp.NewContext(allocator)
		b.cancel = append(b.cancel, cancel)
		if err := chromedp.Do(b.ctx); err != nil {
			b.err = fmt.Errorf("starting %s: %w", path, err)
		}
	})
	return b.err
}

func (b *browser) stop() {
	for i := len(b.cancel) - 1; i >= 0; i-- {
		b.cancel[i]()
	}
	if b.folder != "" {
		_ = os.RemoveAll(b.folder)
	}
}

// tab is a tab of the browser.
type tab struct {
	testing.TB
	ctx context.Context
}

// newTab opens a tab in a new profile: without a cookie, a cache or anything of another test.
func newTab(t testing.TB) *tab {
	t.Helper()
	path := find()
	if path == "" {
		t.Skip("there is no Chromium: install it, or name it with KEYTURN_CHROMIUM")
	}
	if err := chromium.start(path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(chromium.ctx, chromedp.WithNewBrowserContext())
	return startTab(ctx, t, cancel)
}

// another opens another tab in the same profile.
func (b *tab) another() *tab {
	b.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	return startTab(ctx, b.TB, cancel)
}

func startTab(ctx context.Context, t testing.TB, cancel context.CancelFunc) *tab {
	t.Helper()
	t.Cleanup(cancel)
	ctx, end := context.WithTimeout(ctx, deadline)
	t.Cleanup(end)
	b := &tab{TB: t, ctx: ctx}
	b.run(chromedp.EmulateViewport(1100, 900))
	return b
}

// run does something in the tab.
func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.Fatalf("in the browser: %v", err)
	}
}

// open loads a page, its module included.
func (b *tab) open(url string) {
	b.Helper()
	b.run(chromedp.Navigate(url))
}

// evaluate runs an expression in the page of a tab, waits for its promise, and reads its value.
func evaluate[T any](b *tab, expression string) T {
	b.Helper()
	value, err := try[T](b, expression)
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return value
}

// try is evaluate for what may fail.
func try[T any](b *tab, expression string) (T, error) {
	return chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// wantTrue waits until an expression is true in the page.
func (b *tab) wantTrue(expression string) {
	b.Helper()
	testoperator.Eventually(b.TB, expression, func() error {
		is, err := try[bool](b, "Promise.resolve("+expression+").then(Boolean)")
		if err == nil && !is {
			err = errors.New("it is false")
		}
		return err
	})
}
