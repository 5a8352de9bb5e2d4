package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/keyturn/keyturn/test/e2e/report"
)

// rotations watches an issuer rotate on its schedule, as fast as its API allows, while its tokens are minted with
// whatever key the kubelet shows and verified with whatever JWKS may be cached.
func (s *suite) rotations(t *testing.T) {
	const wantRotations, wantTokens = 3, 2000
	name := shopNamespace + "/" + brisk
	start := time.Now()
	timeout := (wantRotations+2)*s.briskPeriod() + s.propagation + long
	window := s.observe(t, "tokens of the keys of three rotations", timeout, func(sum report.Window) error {
		seen := sum.Issuers[name]
		if len(seen.Keys) <= wantRotations || seen.Tokens < wantTokens || seen.Late == 0 {
			return fmt.Errorf("%d tokens of %d keys so far, %d of them also late", seen.Tokens, len(seen.Keys), seen.Late)
		}
		return nil
	})
	t.Logf("measured: %d rotations every %s, seen by tokens in %s", len(window.Issuers[name].Keys)-1, s.briskPeriod(), time.Since(start).Round(time.Second))
	wantFlawless(t, "rotations", window)

	// The scenarios that follow ask for rotations when they want one. Until then the keys that only verify leave one by
	// one, each no earlier than the last token that needs it has expired.
	s.patchIssuer(t, brisk, map[string]any{"spec": map[string]any{"signing": map[string]any{"rotation": map[string]any{"period": "720h"}}}})
	start = time.Now()
	window = s.observe(t, "the retiring keys to leave", s.propagation+briskLifetime+clockSkew+long, func(report.Window) error {
		ring, err := s.settled(t.Context(), brisk)
		if err == nil && len(ring.retiring) > 0 {
			err = fmt.Errorf("%d are in the JWKS", len(ring.retiring))
		}
		return err
	})
	t.Logf("measured: all but two keys had left the JWKS %s after the last rotation at the latest", time.Since(start).Round(time.Second))
	wantFlawless(t, "retiring keys leave", window)
}
