package issuers

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestFreshnessListensToWatches(t *testing.T) {
	more := make(chan string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		for text := range more {
			_, _ = io.WriteString(w, text)
			w.(http.Flusher).Flush()
		}
	}))
	defer server.Close()
	defer close(more)
	clk := clocktesting.NewFakePassiveClock(epoch)
	freshness := NewFreshness(clk)
	client := &http.Client{Transport: freshness.Wrap(http.DefaultTransport)}

	if _, heard := freshness.Age(); heard {
		t.Error("something was heard before the first watch")
	}
	response, err := client.Get(server.URL + "/apis/keyturn.dev/v1alpha1/tokenissuers?watch=true")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	clk.SetTime(epoch.Add(time.Minute))
	if age, _ := freshness.Age(); age != time.Minute {
		t.Errorf("a watch that says nothing for a minute has the age %s", age)
	}
	more <- "x"
	if _, err := io.ReadFull(response.Body, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if age, _ := freshness.Age(); age != 0 {
		t.Errorf("a watch that has just spoken has the age %s", age)
	}
}

func TestFreshnessIsThatOfTheQuietestWatch(t *testing.T) {
	clk := clocktesting.NewFakePassiveClock(epoch)
	freshness := NewFreshness(clk)
	freshness.hear("/secrets")
	clk.SetTime(epoch.Add(time.Minute))
	freshness.hear("/tokenissuers")
	if age, _ := freshness.Age(); age != time.Minute {
		t.Errorf("age %s", age)
	}
}

func TestFreshnessIgnoresEverythingElse(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	freshness := NewFreshness(clocktesting.NewFakePassiveClock(epoch))
	client := &http.Client{Transport: freshness.Wrap(http.DefaultTransport)}
	get := func(path string) {
		response, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	get("/api/v1/secrets")               // a list says nothing about what comes after it
	get("/api/v1/configmaps?watch=true") // verification does not depend on it
	get("/apis/coordination/v1/leases?watch=true")
	status = http.StatusForbidden
	get("/api/v1/secrets?watch=true") // a watch that was refused
	if _, heard := freshness.Age(); heard {
		t.Error("something that is not a watch of ours was counted")
	}
}

// The age is that of everything that verification depends on: a session that was ended is denied by a watch.
func TestFreshnessListensToSessions(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	defer server.Close()
	freshness := NewFreshness(clocktesting.NewFakePassiveClock(epoch))
	client := &http.Client{Transport: freshness.Wrap(http.DefaultTransport)}
	response, err := client.Get(server.URL + "/apis/keyturn.dev/v1alpha1/namespaces/shop/sessions?watch=true")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if _, heard := freshness.Age(); !heard {
		t.Error("the watch of sessions does not count")
	}
}
