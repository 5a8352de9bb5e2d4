package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/keyturn/keyturn/test/e2e/report"
)

const (
	// batchPause and batchSize make 40 tokens a second of each issuer.
	batchPause = 250 * time.Millisecond
	batchSize  = 10
	// lateBy is how long before its end a token is verified once more, and lateLifetime the longest lifetime for which the
	// gateway waits for that.
	lateBy       = time.Second
	lateLifetime = 2 * time.Minute
	// requestPause is the pause of each of those who ask about tokens that have passed already.
	requestPause = 20 * time.Millisecond
	// connectionPause is the same where each request has a connection of its own. It is so long that no port of the pod
	// comes again while the node's connection tracking remembers to which replica it went, for two minutes: if that
	// replica is no more, the connection is sent after it, and comes to nothing, whatever Keyturn does.
	connectionPause = 100 * time.Millisecond
)

// gateway verifies tokens, each both by itself and by asking Keyturn, and counts.
type gateway struct {
	tally   *tally
	target  target
	mintURL string
	plain   *http.Client
	issuers map[string]*jwksCache
	paused  atomic.Bool
	// current is a token that has passed, for those who only ask.
	current atomic.Pointer[passedToken]
	late    lateQueue

	mu       sync.Mutex
	replicas context.CancelFunc
}

type passedToken struct {
	issuer, raw string
	verified
}

// verify is a gateway in front of an application.
func verify(ctx context.Context, arguments []string, mux *http.ServeMux) (background func() error, err error) {
	flags := flag.NewFlagSet("verify", flag.ContinueOnError)
	var issuers list
	flags.Var(&issuers, "issuer", "an issuer whose tokens to verify, as namespace/name; can be repeated")
	base := flags.String("keyturn", "", "the URL of Keyturn's Service")
	ca := flags.String("ca", "", "the file with the authority of Keyturn's certificate")
	mintURL := flags.String("mint", "", "the URL of who mints the tokens")
	audience := flags.String("audience", "", "the audience that the tokens must be for")
	leeway := flags.Duration("leeway", 0, "how far clocks may differ")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	at, err := url.Parse(*base)
	if err != nil {
		return nil, fmt.Errorf("-keyturn: %w", err)
	}
	target, err := newTarget(*base, at.Hostname(), *ca)
	if err != nil {
		return nil, err
	}
	g := &gateway{
		tally: newTally(), target: target, mintURL: *mintURL, plain: &http.Client{Timeout: attemptTimeout},
		issuers: map[string]*jwksCache{},
	}
	keys := target.path("jwks", keptAlive, g.tally)
	for _, issuer := range issuers {
		g.issuers[issuer] = &jwksCache{
			url: "/issuers/" + issuer + "/.well-known/jwks.json", path: keys, audience: *audience, leeway: *leeway,
		}
	}
	mux.HandleFunc("POST /window", handle(func(*http.Request) (report.Window, error) { return g.tally.window(), nil }))
	mux.HandleFunc("POST /paused", handle(func(r *http.Request) (bool, error) {
		g.paused.Store(r.URL.Query().Get("paused") == "true")
		return g.paused.Load(), nil
	}))
	mux.HandleFunc("POST /replicas", handle(func(r *http.Request) (int, error) { return g.askReplicas(ctx, r.URL.Query()["address"]), nil }))
	mux.HandleFunc("POST /tokens", handle(g.verifyGiven))
	return func() error { return g.run(ctx) }, nil
}

// run verifies until the context ends.
func (g *gateway) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for issuer := range g.issuers {
		group.Go(func() error { return g.verifyNew(ctx, issuer) })
	}
	group.Go(func() error { return g.verifyLate(ctx) })
	for name, use := range map[string]connections{
		"service, kept alive 1": keptAlive, "service, kept alive 2": keptAlive, "service, kept alive 3": keptAlive,
		"service, HTTP/2": http2, "service, new connections": alwaysNew,
	} {
		group.Go(func() error { return g.ask(ctx, g.target.path(name, use, g.tally)) })
	}
	return group.Wait()
}

// askReplicas begins to ask each replica by itself, too, in place of those it asked before.
func (g *gateway) askReplicas(ctx context.Context, addresses []string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.replicas != nil {
		g.replicas()
	}
	ctx, g.replicas = context.WithCancel(ctx)
	for _, address := range addresses {
		replica := g.target
		replica.base = "https://" + address
		for name, use := range map[string]connections{"kept alive": keptAlive, "new connections": alwaysNew} {
			go func() { _ = g.ask(ctx, replica.path("replica "+address+", "+name, use, g.tally)) }()
		}
	}
	return len(addresses)
}

// verifyNew gets tokens of one issuer and verifies each of them.
func (g *gateway) verifyNew(ctx context.Context, issuer string) error {
	path := g.target.path("service, each token", keptAlive, g.tally)
	return g.every(ctx, batchPause, func() {
		tokens, err := g.tokens(ctx, issuer)
		if err != nil {
			g.tally.other(fmt.Errorf("getting tokens of %s to verify: %w", issuer, err))
			return
		}
		for _, token := range tokens {
			g.verifyOne(ctx, path, issuer, token, false)
		}
	})
}

// verifyLate verifies tokens once more shortly before they expire: the keys that signed them must still be there.
func (g *gateway) verifyLate(ctx context.Context) error {
	path := g.target.path("service, each token late", keptAlive, g.tally)
	return g.every(ctx, batchPause, func() {
		for _, token := range g.late.due(realTime.Now().Add(lateBy)) {
			if realTime.Now().Before(token.expires) { // It may have expired while the gateway was paused.
				g.verifyOne(ctx, path, token.issuer, token.raw, true)
			}
		}
	})
}

func (g *gateway) verifyOne(ctx context.Context, path *path, issuer, token string, late bool) {
	said, err := g.issuers[issuer].verify(ctx, token)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		g.tally.rejected(issuer, err)
		return
	}
	if !path.verify(ctx, token, said.subject) {
		return
	}
	g.tally.passed(issuer, said.keyID, late)
	if late {
		return
	}
	passed := &passedToken{issuer: issuer, raw: token, verified: said}
	g.current.Store(passed)
	if said.expires.Before(realTime.Now().Add(lateLifetime)) {
		g.late.add(passed)
	}
}

// verifyGiven verifies tokens of an issuer that somebody has kept, and says what is wrong with them. There is no second
// attempt: the tally is told of it.
func (g *gateway) verifyGiven(r *http.Request) ([]string, error) {
	issuer := g.issuers[r.URL.Query().Get("issuer")]
	if issuer == nil {
		return nil, fmt.Errorf("the tokens of the issuer %q are not verified here", r.URL.Query().Get("issuer"))
	}
	var given report.Tokens
	if err := json.NewDecoder(r.Body).Decode(&given); err != nil {
		return nil, fmt.Errorf("reading the tokens: %w", err)
	}
	path := g.target.path("service, kept tokens", keptAlive, g.tally)
	var troubles []string
	for i, token := range given.Tokens {
		said, err := issuer.verify(r.Context(), token)
		if err != nil {
			troubles = append(troubles, fmt.Sprintf("token %d: %v", i+1, err))
			continue
		}
		if !path.verify(r.Context(), token, said.subject) {
			troubles = append(troubles, fmt.Sprintf("token %d is denied by /verify", i+1))
		}
	}
	return troubles, nil
}

// ask asks about the current token, again and again. It stops a moment before the token expires, if there is no other.
func (g *gateway) ask(ctx context.Context, path *path) error {
	return g.every(ctx, path.pause, func() {
		if token := g.current.Load(); token != nil && realTime.Now().Add(lateBy).Before(token.expires) {
			path.verify(ctx, token.raw, token.subject)
		}
	})
}

// every calls do again and again, unless paused, until the context ends.
func (g *gateway) every(ctx context.Context, pause time.Duration, do func()) error {
	ticker := realTime.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			if !g.paused.Load() {
				do()
			}
		}
	}
}

func (g *gateway) tokens(ctx context.Context, issuer string) ([]string, error) {
	return mintTokens(ctx, g.plain, g.mintURL, issuer, batchSize)
}

// mintTokens gets new tokens from the workload that mints.
func mintTokens(ctx context.Context, client *http.Client, base, issuer string, count int) ([]string, error) {
	query := url.Values{"issuer": {issuer}, "count": {fmt.Sprint(count)}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/tokens?"+query.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(strings.TrimSpace(string(body)))
	}
	var out report.Tokens
	return out.Tokens, json.Unmarshal(body, &out)
}

// lateQueue holds tokens until they are about to expire. Those of one issuer come in that order; issuers do not differ by
// enough to matter.
type lateQueue struct {
	mu     sync.Mutex
	tokens []*passedToken
}

func (q *lateQueue) add(token *passedToken) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tokens = append(q.tokens, token)
}

// due takes out those that expire before the given time.
func (q *lateQueue) due(before time.Time) []*passedToken {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.tokens) && q.tokens[n].expires.Before(before) {
		n++
	}
	out := q.tokens[:n:n]
	q.tokens = q.tokens[n:]
	return out
}
