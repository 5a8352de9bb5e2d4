package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// jwksCache verifies tokens with the published keys of one issuer, and keeps these for as long as max-age allows, to the
// last moment. It never asks early, not even for a key that it does not know: that it need not is what Keyturn promises.
type jwksCache struct {
	url      string
	path     *path
	audience string
	leeway   time.Duration

	mu      sync.Mutex
	set     jose.JSONWebKeySet
	expires time.Time
}

var maxAge = regexp.MustCompile(`max-age=(\d+)`)

// verified is what a token says that has passed.
type verified struct {
	keyID, subject string
	expires        time.Time
}

func (c *jwksCache) verify(ctx context.Context, token string) (verified, error) {
	set, err := c.keys(ctx)
	if err != nil {
		return verified{}, err
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return verified{}, fmt.Errorf("parsing the token: %w", err)
	}
	keyID := parsed.Headers[0].KeyID
	keys := set.Key(keyID)
	if len(keys) != 1 {
		return verified{}, fmt.Errorf("the JWKS has %d keys with the id %s", len(keys), keyID)
	}
	var claims jwt.Claims
	if err := parsed.Claims(keys[0].Key, &claims); err != nil {
		return verified{}, fmt.Errorf("verifying with the key %s: %w", keyID, err)
	}
	expected := jwt.Expected{AnyAudience: jwt.Audience{c.audience}, Time: realTime.Now()}
	if err := claims.ValidateWithLeeway(expected, c.leeway); err != nil {
		return verified{}, fmt.Errorf("the claims of a token of the key %s: %w", keyID, err)
	}
	return verified{keyID: keyID, subject: claims.Subject, expires: claims.Expiry.Time()}, nil
}

func (c *jwksCache) keys(ctx context.Context) (jose.JSONWebKeySet, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if realTime.Now().Before(c.expires) {
		return c.set, nil
	}
	var fresh jose.JSONWebKeySet
	var lifetime time.Duration
	good := c.path.get(ctx, c.url, http.Header{}, func(got answer) string {
		match := maxAge.FindStringSubmatch(got.header.Get("Cache-Control"))
		if got.status != http.StatusOK || match == nil {
			return fmt.Sprintf("%d, Cache-Control %q", got.status, got.header.Get("Cache-Control"))
		}
		seconds, err := strconv.Atoi(match[1])
		if err != nil {
			return err.Error()
		}
		lifetime = time.Duration(seconds) * time.Second
		if err := json.Unmarshal(got.body, &fresh); err != nil {
			return fmt.Sprintf("not a JWKS: %v", err)
		}
		return ""
	})
	if !good {
		return jose.JSONWebKeySet{}, errors.New("there is no JWKS to verify with: see the path " + c.path.name)
	}
	c.set, c.expires = fresh, realTime.Now().Add(lifetime)
	return c.set, nil
}
