package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

// noon is not given in UTC, so that a time which is written as it comes would show.
var noon = time.Date(2026, 3, 1, 13, 0, 0, 120_000_000, time.FixedZone("Berlin", 3600))

func newLog(w *writes) *Log { return New(w, clocktesting.NewFakePassiveClock(noon)) }

// writes keeps every Write by itself. The first of the failures are returned, one for each Write, after as many bytes as
// partial says.
type writes struct {
	mu       sync.Mutex
	calls    []string
	failures int
	partial  int
}

var errFull = errors.New("no space left on device")

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failures > 0 {
		w.failures--
		w.calls = append(w.calls, string(p[:w.partial]))
		return w.partial, errFull
	}
	w.calls = append(w.calls, string(p))
	return len(p), nil
}

// full is an event with a value in every field.
func full() Event {
	return Event{
		Kind: Reuse, Issuer: types.NamespacedName{Namespace: "shops", Name: "shop"}, IssuerURL: "https://tokens.example/shop",
		Subject: "alice", ClientID: "web", SessionID: "6jYyN", KeyID: "d476a8d0", Source: "password",
		Actor: "system:serviceaccount:shops:login", Address: "192.0.2.7", Object: "alice-left", Target: "subject=alice",
		Reason: "Reused",
	}
}

// The names and the form of a line are what other people's tools read.
func TestLines(t *testing.T) {
	w := &writes{}
	log := newLog(w)
	log.Record(full())
	log.Record(Event{Kind: Login, Subject: "bob"})
	want := []string{
		`{"time":"2026-03-01T12:00:00.12Z","audit":"reuse","issuer":"shops/shop","iss":"https://tokens.example/shop",` +
			`"sub":"alice","client_id":"web","sid":"6jYyN","kid":"d476a8d0","source":"password",` +
			`"actor":"system:serviceaccount:shops:login","address":"192.0.2.7","object":"alice-left",` +
			`"target":"subject=alice","reason":"Reused"}` + "\n",
		`{"time":"2026-03-01T12:00:00.12Z","audit":"login","sub":"bob"}` + "\n",
	}
	if len(w.calls) != len(want) {
		t.Fatalf("%d writes for %d events: %q", len(w.calls), len(want), w.calls)
	}
	for i := range want {
		if w.calls[i] != want[i] {
			t.Errorf("line %d is\n%swant\n%s", i, w.calls[i], want[i])
		}
	}
}

func TestNilLogWritesNothing(t *testing.T) {
	var log *Log
	log.Record(full())
	if got := testutil.ToFloat64(log.WriteErrors()); got != 0 {
		t.Errorf("%g write errors, want 0", got)
	}
}

// Whatever somebody sends for a user name: it is one value of one line, and nothing that a terminal obeys.
func TestHostileValues(t *testing.T) {
	for name, value := range map[string]string{
		"a line of its own":     "alice\n{\"audit\":\"login\",\"sub\":\"root\"}",
		"a return":              "alice\rroot",
		"the end of the string": `alice","audit":"login","sub":"root`,
		"an escape sequence":    "alice\x1b[2J\x00",
		"line separators":       "alice\u2028root\u2029\u0085",
		"no UTF-8":              "alice\xff\xfe",
		"a megabyte":            strings.Repeat("ä", 1<<19),
		"a megabyte of nothing": strings.Repeat("\xbf", 1<<20),
		"an escape at the end":  strings.Repeat("a", maxValueBytes-1) + "ä",
	} {
		t.Run(name, func(t *testing.T) {
			w := &writes{}
			newLog(w).Record(Event{Kind: LoginFailed, Subject: value, Reason: "refused"})
			if len(w.calls) != 1 || strings.Count(w.calls[0], "\n") != 1 || !strings.HasSuffix(w.calls[0], "}\n") {
				t.Fatalf("%d writes, want one of one line: %.200q", len(w.calls), w.calls)
			}
			line := w.calls[0]
			if strings.ContainsAny(line, "\r\x1b\x00\u2028\u2029") || !utf8.ValidString(line) || len(line) > 8*maxValueBytes {
				t.Errorf("the line of %d bytes is not plain text: %.200q", len(line), line)
			}
			var fields map[string]string
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Fatal(err)
			}
			if len(fields) != 4 || fields["audit"] != string(LoginFailed) || fields["reason"] != "refused" {
				t.Errorf("the line holds %.200v", fields)
			}
			if !strings.HasPrefix(fields["sub"], "a") && !strings.HasPrefix(name, "a megabyte") {
				t.Errorf("the subject has become %.40q", fields["sub"])
			}
		})
	}
}

func TestLongValuesAreCutOffAtACharacter(t *testing.T) {
	for _, test := range []struct{ value, want string }{
		{strings.Repeat("a", maxValueBytes), strings.Repeat("a", maxValueBytes)},
		{strings.Repeat("a", maxValueBytes+1), strings.Repeat("a", maxValueBytes) + "…"},
		{"a" + strings.Repeat("ä", maxValueBytes/2), "a" + strings.Repeat("ä", maxValueBytes/2-1) + "…"},
		{strings.Repeat("a", maxValueBytes-3) + "🔑", strings.Repeat("a", maxValueBytes-3) + "…"},
	} {
		if got := bounded(test.value); got != test.want {
			t.Errorf("a value of %d bytes is cut to %d bytes that end with %q", len(test.value), len(got), got[len(got)-5:])
		}
	}
}

// A writer that fails costs its lines and nothing else: whoever records goes on, and the metric tells.
func TestFailingWriter(t *testing.T) {
	for name, partial := range map[string]int{"nothing written": 0, "half a line written": 20} {
		t.Run(name, func(t *testing.T) {
			const failures = 3
			w := &writes{failures: failures, partial: partial}
			log := newLog(w)
			for i := range failures + 2 {
				log.Record(Event{Kind: Login, Subject: strconv.Itoa(i)})
			}
			if got := testutil.ToFloat64(log.WriteErrors()); got != failures {
				t.Errorf("%g write errors are counted, want %d", got, failures)
			}
			var whole []string
			for line := range strings.Lines(strings.Join(w.calls, "")) {
				if json.Valid([]byte(line)) {
					whole = append(whole, regexp.MustCompile(`"sub":"(.)"`).FindStringSubmatch(line)[1])
				}
			}
			if got := strings.Join(whole, " "); got != "3 4" {
				t.Errorf("the whole lines are of the events %s, want 3 4:\n%s", got, strings.Join(w.calls, ""))
			}
		})
	}
}

// A short write that is followed by one without a single byte leaves the line torn.
func TestTornLineStaysTorn(t *testing.T) {
	w := &writes{failures: 1, partial: 10}
	log := newLog(w)
	log.Record(Event{Kind: Login})
	w.failures, w.partial = 1, 0
	log.Record(Event{Kind: Login})
	log.Record(Event{Kind: Logout})
	if last := w.calls[len(w.calls)-1]; !strings.HasPrefix(last, "\n{") {
		t.Errorf("the first whole line after a torn one is %q", last)
	}
	log.Record(Event{Kind: Logout})
	if last := w.calls[len(w.calls)-1]; !strings.HasPrefix(last, "{") {
		t.Errorf("the second whole line after a torn one is %q", last)
	}
}

func TestConcurrentUse(t *testing.T) {
	const writers, events = 16, 100
	w := &writes{}
	log := newLog(w)
	var running sync.WaitGroup
	for i := range writers {
		running.Go(func() {
			for j := range events {
				log.Record(Event{Kind: Refresh, SessionID: fmt.Sprintf("%d-%d", i, j)})
			}
		})
	}
	running.Wait()
	seen := map[string]bool{}
	for _, line := range w.calls {
		var fields map[string]string
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		seen[fields["sid"]] = true
	}
	if len(w.calls) != writers*events || len(seen) != writers*events {
		t.Errorf("%d writes of %d events, want %d", len(w.calls), len(seen), writers*events)
	}
}

// The kinds are what alerts are built on, so each is said to mean something, in one word of its own.
func TestEveryKindIsDocumented(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "audit.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := spec.Type.(*ast.Ident); !ok || of.Name != "Kind" {
			return true
		}
		name, word := spec.Names[0].Name, spec.Values[0].(*ast.BasicLit).Value
		if !strings.HasPrefix(spec.Doc.Text(), name+" is that ") {
			t.Errorf("%s: %q does not say what has happened", name, spec.Doc.Text())
		}
		if !regexp.MustCompile(`^"[a-z]+(_[a-z]+)*"$`).MatchString(word) || seen[word] {
			t.Errorf("%s is written as %s, which is not a word of its own", name, word)
		}
		seen[word] = true
		return true
	})
	if len(seen) < 10 {
		t.Errorf("only %d kinds", len(seen))
	}
}

func BenchmarkRecord(b *testing.B) {
	log := New(io.Discard, clocktesting.NewFakePassiveClock(noon))
	event := full()
	b.ReportAllocs()
	for b.Loop() {
		log.Record(event)
	}
}
