package main

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTypedIsWhatAShellReads gives the printed command to a shell, which must come to the same arguments.
func TestTypedIsWhatAShellReads(t *testing.T) {
	for name, arguments := range map[string][]string{
		"plain":               {"get", "tokenissuer", "shop", "--for=condition=Ready", "keyturn.dev/rotate-requested-at=2026-11-21T04:58:55Z"},
		"a template":          {`jsonpath={range .status.keys[*]}{.state} {.id}{"\n"}{end}`},
		"quotes and a dollar": {`it's "$HOME" \ & ; *`, ""},
		"several lines":       {"--first=" + strings.Repeat("a", 50), "--second=" + strings.Repeat("b", 50), strings.Repeat("c", 120), "d"},
	} {
		t.Run(name, func(t *testing.T) {
			script := typed("printf", append([]string{`%s\0`}, arguments...))
			output, err := exec.Command("sh", "-c", script).Output()
			if err != nil {
				t.Fatalf("%v, of\n%s", err, script)
			}
			got := strings.Split(strings.TrimSuffix(string(output), "\x00"), "\x00")
			if diff := cmp.Diff(arguments, got); diff != "" {
				t.Errorf("%s\n%s", script, diff)
			}
		})
	}
}

func TestTypedFitsTheTerminal(t *testing.T) {
	command := typed("kubectl", []string{"wait", strings.Repeat("a", 60), strings.Repeat("b", 60), strings.Repeat("c", 10)})
	lines := strings.Split(command, "\n")
	if len(lines) < 2 {
		t.Fatalf("a command of %d characters is on one line", len(command))
	}
	for _, line := range lines {
		if width := len(margin) + len("$ ") + len(line); width > columns {
			t.Errorf("a line is %d columns wide: %s", width, line)
		}
	}
}

func TestRunSaysWhatFailed(t *testing.T) {
	s := &stage{}
	_, err := s.run(t.Context(), exec.Command("sh", "-c", "echo out; echo why >&2; exit 3"))
	var b *broken
	if !errors.As(err, &b) {
		t.Fatalf("got %v, want a broken promise", err)
	}
	for _, part := range []string{"out", "why", "exit status 3"} {
		if !strings.Contains(b.Error(), part) {
			t.Errorf("%q does not say %q", b.Error(), part)
		}
	}
	cause := errors.New("the operator has died")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := s.run(ctx, exec.Command("sh", "-c", "exit 3")); !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause of the end", err)
	}
}

func TestQuestionTyped(t *testing.T) {
	token := namedToken{"TOKEN", "secret-value"}
	for name, c := range map[string]struct {
		question question
		want     string
	}{
		"bare":              {question{path: "/verify"}, "curl -i $KEYTURN/verify"},
		"a query is quoted": {question{path: "/verify?audience=a&scope=b"}, `curl -i "$KEYTURN/verify?audience=a&scope=b"`},
		"a host":            {question{path: "/x", host: "tokens.shop.example"}, "curl -i -H 'Host: tokens.shop.example' $KEYTURN/x"},
		"a token by name":   {question{path: "/verify", token: token}, `curl -i -H "Authorization: Bearer $TOKEN" $KEYTURN/verify`},
		"a body by name":    {question{path: "/tokenreview", body: "secret-value", bodyShown: "$REVIEW"}, `curl -i --json "$REVIEW" $KEYTURN/tokenreview`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.question.typed(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
