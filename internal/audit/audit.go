// Package audit writes the audit log: one JSON object a line, for each login, refresh and end of a session, and for each
// step in the life of a key. It says who did what, where and why, and never holds a token.
package audit

import (
	"context"
	"io"
	"log/slog"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Kind is what happened. The words are stable.
type Kind string

// The kinds of events.
const (
	Login              Kind = "login"
	LoginFailed        Kind = "login_failed"
	Issue              Kind = "issue"
	Refresh            Kind = "refresh"
	Reuse              Kind = "reuse"
	Logout             Kind = "logout"
	SessionEnded       Kind = "session_ended"
	Revocation         Kind = "revocation"
	KeyCreated         Kind = "key_created"
	KeyActivated       Kind = "key_activated"
	KeyRetired         Kind = "key_retired"
	KeyRemoved         Kind = "key_removed"
	KeyRevoked         Kind = "key_revoked"
	RefreshKeyCreated  Kind = "refresh_key_created"
	RefreshKeyRemoved  Kind = "refresh_key_removed"
	AuditLogBegins     Kind = "audit_log_begins"
	IntrospectionAsked Kind = "introspection"
)

// Event is one line. What is empty is left out.
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
	// Object names what the event is about, where that is no session and no key: a TokenRevocation.
	Object string
	// Reason says why, in a stable word or a sentence.
	Reason string
}

// Log writes events. It is safe for concurrent use; a nil Log writes nothing.
type Log struct {
	handler slog.Handler
	clock   clock.PassiveClock
}

// New returns a log that writes each event at once, with one Write.
func New(w io.Writer, clk clock.PassiveClock) *Log {
	return &Log{clock: clk, handler: slog.NewJSONHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, attribute slog.Attr) slog.Attr {
			switch attribute.Key {
			case slog.LevelKey:
				return slog.Attr{}
			case slog.MessageKey:
				attribute.Key = "audit"
			}
			return attribute
		},
	})}
}

// Record writes one event. That a line could not be written is nothing that a caller could do something about; who must
// not lose one reads the stream where it cannot fail.
func (l *Log) Record(event Event) {
	if l == nil {
		return
	}
	record := slog.NewRecord(l.clock.Now().UTC(), slog.LevelInfo, string(event.Kind), 0)
	add := func(name, value string) {
		if value != "" {
			record.AddAttrs(slog.String(name, value))
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
	add("reason", event.Reason)
	_ = l.handler.Handle(context.Background(), record)
}
