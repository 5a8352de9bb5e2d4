package login

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

func TestAuthorizeRemembersARight(t *testing.T) {
	s := newShop(t)
	token := s.token(t, s.account, issuerURL)
	var asking sync.WaitGroup
	for range 50 {
		asking.Go(func() {
			if _, err := s.authorize(t, token); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	s.wantCalls(t, 1, 1)
	if err := s.server.Delete(t.Context(), s.binding); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the right to be gone", func() bool { return !s.mayIssue(t, "backend", "tokens") })
	s.clock.Step(grantedLifetime - time.Nanosecond)
	if _, err := s.authorize(t, token); err != nil {
		t.Errorf("just before 10 s: %v", err)
	}
	s.wantCalls(t, 1, 1)
	s.clock.Step(time.Nanosecond)
	if _, err := s.authorize(t, token); !errors.Is(err, ErrForbidden) {
		t.Errorf("after 10 s without the right: %v, want ErrForbidden", err)
	}
	s.wantCalls(t, 2, 2)
}

func TestAuthorizeRemembersARefusal(t *testing.T) {
	s := newShop(t)
	token := s.token(t, s.newAccount(t, "frontend"), issuerURL)
	refuse := func() {
		t.Helper()
		if _, err := s.authorize(t, token); !errors.Is(err, ErrForbidden) {
			t.Errorf("error %v, want ErrForbidden", err)
		}
	}
	refuse()
	s.grant(t, "frontend", "tokens")
	eventually(t, "the right to be in force", func() bool { return s.mayIssue(t, "frontend", "tokens") })
	s.clock.Step(deniedLifetime - time.Nanosecond)
	refuse()
	s.wantCalls(t, 1, 1)
	s.clock.Step(time.Nanosecond)
	if workload, err := s.authorize(t, token); err != nil || workload.Name != s.userName("frontend") {
		t.Errorf("2 s later: %+v, %v; want the right", workload, err)
	}
	s.wantCalls(t, 2, 2)
	bad := forged(token)
	for range 10 {
		if _, err := s.authorize(t, bad); !errors.Is(err, ErrRefused) {
			t.Errorf("a forged token: %v, want ErrRefused", err)
		}
	}
	s.wantCalls(t, 3, 2)
}

// TestAuthorizeKeepsQuestionsApart: one answer is for one token, issuer, URL and verb.
func TestAuthorizeKeepsQuestionsApart(t *testing.T) {
	s := newShop(t)
	const otherURL = "https://other.example"
	first, second := s.token(t, s.account, issuerURL, otherURL), s.token(t, s.account, issuerURL)
	for i, question := range []struct{ token, issuer, url, verb string }{
		{first, "tokens", issuerURL, "issue"},
		{second, "tokens", issuerURL, "issue"},
		{first, "others", issuerURL, "issue"},
		{first, "tokens", otherURL, "issue"},
		{first, "tokens", issuerURL, "introspect"},
	} {
		_, err := s.Authorize(t.Context(), s.issuer(question.issuer), question.url, question.token, question.verb)
		if allowed := question.issuer == "tokens" && question.verb == "issue"; allowed != (err == nil) {
			t.Errorf("question %d: %v, want allowed = %t", i, err, allowed)
		}
		s.wantCalls(t, int64(i+1), int64(i+1))
	}
}

// TestARightEndsWithTheToken has a token that expires in 3 s, by the fake clock.
func TestARightEndsWithTheToken(t *testing.T) {
	s := newShop(t)
	token := s.token(t, s.account, issuerURL)
	read, err := readUnverified(token, maxWorkloadTokenBytes)
	if err != nil {
		t.Fatal(err)
	}
	expires, err := read.claims.expiry(s.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.clock.SetTime(expires.Add(-3 * time.Second))
	if _, err := s.authorize(t, token); err != nil {
		t.Fatal(err)
	}
	question := digest(token, s.namespace, "tokens", issuerURL, v1alpha1.VerbIssue)
	kept, found := s.verdicts.answers.GetIfPresent(question)
	if !found || !kept.until.Equal(expires) {
		t.Errorf("the right is kept until %v, want until the token expires, at %v", kept, expires)
	}
	s.clock.SetTime(expires)
	if _, err := s.authorize(t, token); !errors.Is(err, ErrRefused) {
		t.Errorf("once it has expired: %v, want ErrRefused", err)
	}
	s.wantCalls(t, 1, 1)
}

// TestReviewsAreBounded has all turns taken: a token that would need one more waits, and gives up after a second.
func TestReviewsAreBounded(t *testing.T) {
	s := newShop(t)
	token := s.token(t, s.account, issuerURL)
	for range maxReviews {
		if err := s.reviews.take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	answered := make(chan error, 1)
	go func() {
		_, err := s.Authorize(t.Context(), s.issuer("tokens"), issuerURL, token, v1alpha1.VerbIssue)
		answered <- err
	}()
	eventually(t, "it to wait", s.clock.HasWaiters)
	s.clock.Step(maxWait)
	if err := <-answered; !errors.Is(err, ErrBusy) {
		t.Errorf("error %v, want ErrBusy", err)
	}
	s.wantCalls(t, 0, 0)
	s.reviews.give()
	if _, err := s.authorize(t, token); err != nil {
		t.Errorf("once one has ended: %v", err)
	}
}

func TestDigestsDiffer(t *testing.T) {
	seen := map[string][]string{}
	for _, texts := range [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"abc", ""}, {"", "abc"}, {}} {
		if before, found := seen[digest(texts...)]; found {
			t.Errorf("%q has the digest of %q", texts, before)
		}
		seen[digest(texts...)] = texts
	}
}
