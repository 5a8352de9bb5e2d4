package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// kubectl shows the command and what it prints, and returns the latter as it was. A command that fails fails the step.
func (s *stage) kubectl(ctx context.Context, arguments ...string) (string, error) {
	s.command(typed("kubectl", arguments))
	output, err := s.run(ctx, s.kubectlCommand(ctx, "", arguments))
	if err == nil {
		s.output(output)
	}
	return output, err
}

// apply shows kubectl being given a document, as one would type it, and what it prints.
func (s *stage) apply(ctx context.Context, document string) error {
	s.command("kubectl apply -f - <<EOF\n" + strings.TrimSpace(document) + "\nEOF")
	output, err := s.run(ctx, s.kubectlCommand(ctx, document, []string{"apply", "-f", "-"}))
	if err == nil {
		s.output(output)
	}
	return err
}

// refused shows kubectl being given a document that the API server must not take, and returns what it says.
func (s *stage) refused(ctx context.Context, document string) (string, error) {
	s.command("kubectl apply -f - <<EOF\n" + strings.TrimSpace(document) + "\nEOF")
	command := s.kubectlCommand(ctx, document, []string{"apply", "-f", "-"})
	output, err := command.CombinedOutput()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err == nil {
		return "", &broken{"the contradiction is refused", "an error of kubectl apply", string(output)}
	}
	s.output(string(output))
	return string(output), nil
}

// quietly runs kubectl without a word in the transcript.
func (s *stage) quietly(ctx context.Context, arguments ...string) (string, error) {
	return s.run(ctx, s.kubectlCommand(ctx, "", arguments))
}

func (s *stage) kubectlCommand(ctx context.Context, stdin string, arguments []string) *exec.Cmd {
	command := exec.CommandContext(ctx, filepath.Join(s.assets, "kubectl"), arguments...) //nolint:gosec // kubectl is what is meant.
	command.Dir = s.root
	command.Stdin = strings.NewReader(stdin)
	// Not the cache and the preferences of whoever tries this.
	command.Env = append(os.Environ(), "KUBECONFIG="+s.folder.kubeconfig(), "KUBECACHEDIR="+s.folder.path("kubectl-cache"), "KUBERC=off")
	return command
}

// run returns what the command writes to stdout. What it writes to stderr becomes part of the error.
func (s *stage) run(ctx context.Context, command *exec.Cmd) (string, error) {
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		program := filepath.Base(command.Path)
		return "", &broken{"the command succeeds: " + typed(program, command.Args[1:]), "exit status 0",
			fmt.Sprintf("%v\n%s%s", err, output, stderr.String())}
	}
	return string(output), nil
}

// typed is a command as a shell wants it.
func typed(program string, arguments []string) string {
	words := []string{program}
	for _, argument := range arguments {
		words = append(words, quoted(argument))
	}
	return folded(words)
}

// folded joins the words of a command, and continues it on another line where it is too long for one.
func folded(words []string) string {
	command, length := words[0], len(words[0])
	for _, word := range words[1:] {
		if length += 1 + len(word); length > commandColumns {
			command, length = command+" \\\n  "+word, 2+len(word)
			continue
		}
		command += " " + word
	}
	return command
}

// commandColumns is the room for a command beside the margin, the prompt, and a backslash at the end.
const commandColumns = columns - len(margin) - 4

// plainWord matches what a shell takes as it is.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=,@%+-]+$`)

func quoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// broken is a promise that did not hold.
type broken struct {
	promise, expected, came string
}

func (b *broken) Error() string {
	return fmt.Sprintf("This did not hold: %s\nexpected: %s\ncame:     %s", b.promise, b.expected, strings.TrimSpace(b.came))
}

// expect compares what a promise says with what came.
func expect[T comparable](promise string, expected, came T) error {
	if expected == came {
		return nil
	}
	return &broken{promise, fmt.Sprint(expected), fmt.Sprint(came)}
}
