package session

import (
	"regexp"
	"testing"
)

// describable is what error_description may hold (RFC 6749 section 5.2).
var describable = regexp.MustCompile(`^[\x20-\x21\x23-\x5B\x5D-\x7E]+[.]$`)

func TestEveryReasonHasASentence(t *testing.T) {
	seen := map[Reason]bool{Good: true}
	for _, reason := range Reasons() {
		if seen[reason] {
			t.Errorf("%s is twice among the reasons", reason)
		}
		seen[reason] = true
		if sentence, ok := sentences[reason]; !ok || !describable.MatchString(sentence) || reason.Sentence() != sentence {
			t.Errorf("the sentence of %s is %q", reason, sentence)
		}
		want := ErrorInvalidGrant
		if reason.Granted() {
			want = ""
		}
		if got := reason.OAuthError(); got != want {
			t.Errorf("the OAuth error of %s is %q, want %q", reason, got, want)
		}
	}
	for reason := range sentences {
		if !seen[reason] {
			t.Errorf("%s has a sentence and is not among the reasons", reason)
		}
	}
	if got := Reason("other").Sentence(); !describable.MatchString(got) {
		t.Errorf("the sentence of an unknown reason is %q", got)
	}
	if got := Reason("other").OAuthError(); got != ErrorInvalidGrant || Reason("other").Granted() {
		t.Errorf("an unknown reason is not refused: %q", got)
	}
}

func TestEveryEndReasonHasASentence(t *testing.T) {
	if len(EndReasons()) != len(endSentences) {
		t.Errorf("%d reasons have %d sentences", len(EndReasons()), len(endSentences))
	}
	for _, reason := range append(EndReasons(), "other") {
		if sentence := reason.Sentence(); !describable.MatchString(sentence) {
			t.Errorf("the sentence of %s is %q", reason, sentence)
		}
	}
}

func TestOnlyThreeReasonsGrant(t *testing.T) {
	granted := 0
	for _, reason := range Reasons() {
		if reason.Granted() {
			granted++
		}
	}
	if granted != 3 || !Rotated.Granted() || !Repeated.Granted() || !MovedForward.Granted() || Good.Granted() {
		t.Errorf("%d reasons grant a refresh, want Rotated, Repeated and MovedForward", granted)
	}
}
