package session

import (
	"math/rand/v2"
	"testing"
	"time"
)

// noon is the login of every session here.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const issuerURL = "https://tokens.example.com/shop"

// fixedRandom gives the same bytes in every process.
func fixedRandom() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{1}) }

// fixedKey is the key of the bytes 0, 1, 2, ...
func fixedKey() Key {
	var root [keySize]byte
	for i := range root {
		root[i] = byte(i)
	}
	key := newKey(root)
	key.CreatedAt, key.UsableFrom, key.MaxLifetime = noon, noon, DefaultAbsoluteLifetime
	return key
}

func fixedKeys() *Keys { return &Keys{Revision: 1, list: []Key{fixedKey()}} }

func goodFacts() Facts {
	facts := Facts{
		Issuer: IssuerReference{"shop", "tokens"}, IssuerURL: issuerURL, Subject: "alice", ClientID: "web",
		Scopes: []string{"orders:read", "orders:write"}, Audiences: []string{"mail-api", "shop-api"},
		Claims: `{"groups":["staff"]}`, Source: SourceWorkload, CreatedAt: noon, ExpiresAt: noon.Add(14 * day),
	}
	for i := range facts.ID {
		facts.ID[i] = byte(200 + i)
		facts.Salt[i] = byte(100 + i)
	}
	return facts
}

func goodPolicy() Policy {
	policy := DefaultPolicy()
	policy.Audiences, policy.Scopes = []string{"mail-api", "shop-api"}, []string{"orders:read", "orders:write"}
	return policy
}

// storedAt is a session that has been refreshed so often, the last time at this moment.
func storedAt(generation uint64, rotatedAt time.Time) *Session {
	return &Session{Facts: goodFacts(), Version: "1", State: State{
		Generation: generation, RotatedAt: rotatedAt, IdleUntil: rotatedAt.Add(DefaultIdleLifetime),
	}}
}

// presented is what Read makes of the session's token of a generation.
func presented(t testing.TB, s *Session, generation uint64) Presented {
	t.Helper()
	key := fixedKey()
	p, reason := fixedKeys().Read(key.token(&s.Facts, generation).Reveal(), issuerURL)
	if reason != Good {
		t.Fatalf("Read() of the session's own token: %s", reason)
	}
	return p
}
