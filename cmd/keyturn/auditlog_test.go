package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keyturn/keyturn/internal/audit"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newTestLog(t *testing.T, path string) *audit.Log {
	t.Helper()
	log, err := newAuditLog(path, clocktesting.NewFakePassiveClock(noon))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// An audit log in a file is appended to across restarts, only its owner may read it, and rotation by truncation in place
// leaves no hole in it.
func TestAuditLogInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	newTestLog(t, path).Record(audit.Event{Kind: audit.Login, Subject: "alice"})
	log := newTestLog(t, path)
	log.Record(audit.Event{Kind: audit.Logout, Subject: "alice"})
	const first = `{"time":"2026-03-01T12:00:00Z","audit":"login","sub":"alice"}` + "\n"
	const second = `{"time":"2026-03-01T12:00:00Z","audit":"logout","sub":"alice"}` + "\n"
	wantContent(t, path, first+second)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("permissions %v, error %v; want those of the owner alone", info.Mode(), err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	log.Record(audit.Event{Kind: audit.Login, Subject: "alice"})
	wantContent(t, path, first)
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil || string(content) != want {
		t.Errorf("%s holds\n%s(error %v), want\n%s", filepath.Base(path), content, err, want)
	}
}

func TestAuditLogOnStdout(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = writer
	newTestLog(t, "-").Record(audit.Event{Kind: audit.Login, Subject: "alice"})
	os.Stdout = stdout
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(reader); err != nil || !strings.Contains(out.String(), `"audit":"login"`) {
		t.Errorf("stdout got %q, error %v; want the line", out.String(), err)
	}
}

func TestNoAuditLog(t *testing.T) {
	if log := newTestLog(t, ""); log != nil {
		t.Error("there is a log, want none")
	}
}
