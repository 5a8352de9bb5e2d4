package main

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	for name, c := range map[string]struct {
		durations []time.Duration
		want      time.Duration
	}{
		"one":  {[]time.Duration{7}, 7},
		"odd":  {[]time.Duration{9, 1, 5}, 5},
		"even": {[]time.Duration{4, 1, 3, 2}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			if got := median(c.durations); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestMilliseconds(t *testing.T) {
	if got := milliseconds(2_345 * time.Microsecond); got != "2.3 ms" {
		t.Errorf("got %s", got)
	}
}

func TestTokenParts(t *testing.T) {
	encode := base64.RawURLEncoding.EncodeToString
	token := namedToken{value: encode([]byte(`{"kid":"k1"}`)) + "." + encode([]byte(`{"sub":"bob"}`)) + ".signature"}
	header, payload := token.parts()
	if header != `{"kid":"k1"}` || payload != `{"sub":"bob"}` || token.keyID() != "k1" {
		t.Errorf("got %s, %s and %s", header, payload, token.keyID())
	}
	if id := (namedToken{value: "nonsense"}).keyID(); id != "" {
		t.Errorf("nonsense has the key id %s", id)
	}
}

func TestKeyIDs(t *testing.T) {
	if diff := cmp.Diff([]string{"a", "b"}, keyIDs([]byte(`{"keys":[{"kid":"a"},{"kid":"b"}]}`))); diff != "" {
		t.Error(diff)
	}
	if ids := keyIDs([]byte("nonsense")); ids != nil {
		t.Errorf("nonsense has the keys %v", ids)
	}
}

func TestJudgment(t *testing.T) {
	for name, c := range map[string]struct {
		answer answer
		want   judgment
		text   string
	}{
		"allowed": {answer{status: 200}, allowed, "200"},
		"denied":  {answer{status: 401, body: []byte(`{"error":"invalid_token","reason":"Revoked"}`)}, revoked, "401 Revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.answer.judgment(); got != c.want || got.String() != c.text {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestEventLine(t *testing.T) {
	got := eventLine("  Normal   KeyCreated    4s    keyturn  Key k1: a new ES256 key.")
	if want := "Normal   KeyCreated    4s    Key k1: a new ES256 key."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := eventLine(" <none> "); got != "<none>" {
		t.Errorf("got %q", got)
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if got := tail(path); got != "" {
		t.Errorf("a log that is not there ends with %q", got)
	}
	lines := strings.Repeat("earlier\n", logTail) + strings.Repeat("late\n", logTail)
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	got := tail(path)
	if strings.Contains(got, "earlier") || strings.Count(got, "late") != logTail {
		t.Errorf("got %q", got)
	}
}

func TestPollEndsWithItsCause(t *testing.T) {
	cause := errors.New("the operator has died")
	ctx, cancel := context.WithCancelCause(t.Context())
	asked := 0
	err := poll(ctx, time.Nanosecond, func() (bool, error) {
		if asked++; asked == 3 {
			cancel(cause)
		}
		return false, nil
	})
	if !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
	if err := poll(t.Context(), time.Nanosecond, func() (bool, error) { return false, cause }); !errors.Is(err, cause) {
		t.Errorf("got %v, want the error", err)
	}
	if err := poll(t.Context(), time.Nanosecond, func() (bool, error) { return true, nil }); err != nil {
		t.Errorf("got %v of what is done", err)
	}
}
