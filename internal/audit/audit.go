// Package audit writes the audit log: one JSON object a line, for each login, refresh and end of a session, for each
// revocation, and for each step in the life of a key. It says who did what, where and why, and never holds a token.
package audit

import (
	"context"
	"io"
	"log/slog"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Kind is what happened. The words are stable: people search for them, and alerts are built on them.
type Kind string

// The kinds of events of sessions.
const (
	// Login is that somebody has logged in by a way that the issuer itself checks, and that a session was opened.
	Login Kind = "login"
	// LoginFailed is that nobody was let in: a wrong password, an ID token that does not hold, a workload without the
	// right. The reason tells which.
	LoginFailed Kind = "login_failed"
	// Issue is that a workload has opened a session for a subject that it has authenticated itself. The actor is the
	// workload.
	Issue Kind = "issue"
	// Refresh is that a session has got new tokens.
	Refresh Kind = "refresh"
	// Reuse is that a refresh token was presented that had been used before: most likely one of two holders has stolen
	// it. The session ends.
	Reuse Kind = "reuse"
	// Logout is that a session, or every session of a subject, was ended by who holds its token.
	Logout Kind = "logout"
	// SessionEnded is that Keyturn has ended a session by itself. The reason tells why.
	SessionEnded Kind = "session_ended"
)

// The kinds of events of revocations and keys. They are written by the replica that runs the controllers.
const (
	// Revocation is that a TokenRevocation has come into force.
	Revocation Kind = "revocation"

	// KeyCreated is that a signing key was made. It does not sign yet.
	KeyCreated Kind = "key_created"
	// KeyActivated is that a signing key has begun to sign.
	KeyActivated Kind = "key_activated"
	// KeyRetired is that a signing key has ceased to sign. It goes on verifying.
	KeyRetired Kind = "key_retired"
	// KeyRemoved is that a signing key is gone, because the last token that it can have signed has expired.
	KeyRemoved Kind = "key_removed"
	// KeyRevoked is that a signing key is gone, because a TokenRevocation names it.
	KeyRevoked Kind = "key_revoked"

	// RefreshKeyCreated is that a key for refresh tokens was made.
	RefreshKeyCreated Kind = "refresh_key_created"
	// RefreshKeyRemoved is that a key for refresh tokens is gone, because the last session that it can have opened has
	// expired.
	RefreshKeyRemoved Kind = "refresh_key_removed"
	// RefreshKeyRevoked is that a key for refresh tokens is gone, because a TokenRevocation names it. Every session that
	// it had opened has to log in again.
	RefreshKeyRevoked Kind = "refresh_key_revoked"
)

// Event is one line. What is empty is left out, and a value of more than maxValueBytes is cut off.
type Event struct {
	Kind Kind
	// Issuer is the TokenIssuer, and IssuerURL the value of its claim "iss".
	Issuer    types.NamespacedName
	IssuerURL string
	// Subject, ClientID and SessionID are the claims "sub", "client_id" and "sid".
	Subject, ClientID, SessionID string
	// KeyID is the id of a signing key or of a key for refresh tokens.
	KeyID string
	// Source is how the subject was authenticated.
	Source string
	// Actor is who asked, where that is not the subject: a ServiceAccount.
	Actor string
	// Address is the client's, as far as it is known: see --trusted-proxies.
	Address string
	// Object names what the event is about, where that is no session and no key: a TokenRevocation, by its name in the
	// namespace of the issuer.
	Object string
	// Target is what a TokenRevocation denies, as its status has it: subject=alice.
	Target string
	// Reason says why, in a stable word or a sentence.
	Reason string
}

// maxValueBytes bounds each value of an event. What the API and the protocols let through is shorter.
const maxValueBytes = 1024

// Log writes events. It is safe for concurrent use; a nil Log writes nothing.
type Log struct {
	// write formats and writes, so there is nothing to cancel.
	write  func(slog.Record) error
	clock  clock.PassiveClock
	failed prometheus.Counter
}

// New returns a log that writes each event at once, with one Write.
func New(w io.Writer, clk clock.PassiveClock) *Log {
	handler := slog.NewJSONHandler(&lines{writer: w}, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, attribute slog.Attr) slog.Attr {
			switch attribute.Key {
			case slog.LevelKey:
				return slog.Attr{}
			case slog.MessageKey:
				attribute.Key = "audit"
			}
			return attribute
		},
	})
	return &Log{
		write: func(record slog.Record) error { return handler.Handle(context.Background(), record) },
		clock: clk, failed: newFailed(),
	}
}

// Record writes one event, and returns when the writer has taken it: a log that dropped lines when there are many could
// be flooded by whoever has something to hide. A line that could not be written is counted and otherwise lost, since a
// login must not fail because a disk is full.
func (l *Log) Record(event Event) {
	if l == nil {
		return
	}
	record := slog.NewRecord(l.clock.Now().UTC(), slog.LevelInfo, string(event.Kind), 0)
	add := func(name, value string) {
		if value != "" {
			record.AddAttrs(slog.String(name, bounded(value)))
		}
	}
	if event.Issuer.Name != "" {
		add("issuer", event.Issuer.String())
	}
	add("iss", event.IssuerURL)
	add("sub", event.Subject)
	add("client_id", event.ClientID)
	add("sid", event.SessionID)
	add("kid", event.KeyID)
	add("source", event.Source)
	add("actor", event.Actor)
	add("address", event.Address)
	add("object", event.Object)
	add("target", event.Target)
	add("reason", event.Reason)
	if l.write(record) != nil {
		l.failed.Inc()
	}
}

// WriteErrors is the metric keyturn_audit_write_errors_total. That of a nil Log stays at zero.
func (l *Log) WriteErrors() prometheus.Counter {
	if l == nil {
		return newFailed()
	}
	return l.failed
}

func newFailed() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Name: "keyturn_audit_write_errors_total", Help: "Lines of the audit log that could not be written.",
	})
}

// bounded cuts a long value off, at the end of a character, and marks the place.
func bounded(value string) string {
	if len(value) <= maxValueBytes {
		return value
	}
	end := maxValueBytes
	for end > maxValueBytes-utf8.UTFMax && !utf8.RuneStart(value[end]) {
		end--
	}
	return value[:end] + "…"
}

// lines ends a line that was written in part, as when a disk is full for a moment, before the next one begins. Its
// caller writes a line at a time, and takes turns.
type lines struct {
	writer io.Writer
	torn   bool
}

func (l *lines) Write(line []byte) (int, error) {
	whole := line
	if l.torn {
		whole = append([]byte{'\n'}, line...)
	}
	written, err := l.writer.Write(whole)
	if err != nil {
		// Where nothing was written, the line before may still be torn.
		l.torn = l.torn && written == 0 || written > 0
		return min(written, len(line)), err
	}
	l.torn = false
	return len(line), nil
}
