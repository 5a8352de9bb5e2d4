package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/test/e2e/report"
)

// upgradeAndRollback changes the pods' template by helm upgrade, and back by helm rollback.
func (s *suite) upgradeAndRollback(t *testing.T) {
	issued := s.issue(t)
	rings := s.rings(t)
	for _, step := range []struct {
		name      string
		arguments []string
	}{
		{"helm upgrade", []string{"upgrade", release, *chartFolder, "--reset-then-reuse-values", "--set", "leaderElection.leaseDuration=20s"}},
		{"helm rollback", []string{"rollback", release, "1"}},
	} {
		before := s.replicas(t)
		s.window(t)
		start := time.Now()
		if _, err := s.helm(append(step.arguments, "--namespace", systemNamespace)...); err != nil {
			t.Fatal(err)
		}
		s.awaitRollout(t)
		t.Logf("measured: %s: every replica was exchanged in %s", step.name, time.Since(start).Round(time.Second))
		s.wantExchanged(t, before)
		wantFlawless(t, step.name, s.window(t))
	}
	if now := s.rings(t); !reflect.DeepEqual(now, rings) {
		t.Error("the rings are not what they were")
	}
	s.wantGood(t, issued)
}

// reinstall uninstalls the release, sees what must stay, and installs it again.
func (s *suite) reinstall(t *testing.T) {
	issued := s.issue(t)
	rings := s.rings(t)
	s.load(t, false)
	if _, err := s.helm("uninstall", release, "--namespace", systemNamespace, "--wait"); err != nil {
		t.Fatal(err)
	}
	await(t, "the replicas to be gone", long, func(ctx context.Context) error {
		pods, err := s.operatorPods(ctx)
		if err == nil && len(pods) > 0 {
			err = fmt.Errorf("%d are there", len(pods))
		}
		return err
	})
	var left appsv1.DeploymentList
	if err := s.api.List(t.Context(), &left, client.InNamespace(systemNamespace)); err != nil || len(left.Items) > 0 {
		t.Errorf("%d Deployments are left (error %v), want none", len(left.Items), err)
	}
	if crds := s.customResources(t.Context(), t); len(crds) != 3 {
		t.Errorf("%d custom resources are left, want all 3", len(crds))
	}
	for _, name := range []string{brisk, steady} {
		if _, err := s.settled(t.Context(), name); err != nil {
			t.Errorf("the issuer %s after helm uninstall: %v", name, err)
		}
	}

	start := time.Now()
	s.helmInstall(t)
	s.awaitRollout(t)
	t.Logf("measured: reinstall: both replicas were seen ready %s after the start of helm install", time.Since(start).Round(100*time.Millisecond))
	s.wantGood(t, issued)
	s.window(t)
	s.load(t, true)
	window := s.observe(t, "new tokens to pass", short, func(sum report.Window) error {
		if sum.Issuers[shopNamespace+"/"+steady].Tokens == 0 {
			return fmt.Errorf("troubles: %q", sum.Troubles)
		}
		return nil
	})
	// The controllers have looked at the issuers by now, or they do it at this request.
	before := s.mustKeys(t, brisk)
	if now := s.rings(t); !reflect.DeepEqual(now, rings) {
		t.Error("the rings are not what they were")
	}
	request := s.requestRotation(t, brisk)
	wantOneRotation(t, before, s.awaitRotation(t, "a rotation after the reinstallation", brisk, request))
	wantFlawless(t, "reinstall", add(window, s.window(t)))
}

// rings are the active and the next key of each issuer. The retiring ones leave by themselves.
func (s *suite) rings(t *testing.T) map[string]keys {
	t.Helper()
	out := map[string]keys{}
	for _, name := range []string{brisk, steady} {
		found := s.mustKeys(t, name)
		found.retiring = nil
		out[name] = found
	}
	return out
}

// issue gets tokens that outlive the suite.
func (s *suite) issue(t *testing.T) report.Tokens {
	t.Helper()
	var issued report.Tokens
	query := url.Values{"issuer": {shopNamespace + "/" + steady}, "count": {"20"}}
	if err := s.ask(t.Context(), http.MethodGet, shopNamespace, minter, "tokens", query, nil, &issued); err != nil {
		t.Fatal(err)
	}
	if len(issued.Tokens) == 0 {
		t.Fatal("no tokens were issued")
	}
	return issued
}

// wantGood fails unless tokens that were issued earlier pass both ways.
func (s *suite) wantGood(t *testing.T, issued report.Tokens) {
	t.Helper()
	var troubles []string
	query := url.Values{"issuer": {shopNamespace + "/" + steady}}
	if err := s.ask(t.Context(), http.MethodPost, gatewayNamespace, verifier, "tokens", query, issued, &troubles); err != nil {
		t.Fatal(err)
	}
	if len(troubles) > 0 {
		t.Errorf("tokens that were issued earlier do not pass: %q", troubles)
	}
}
