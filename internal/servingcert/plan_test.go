package servingcert

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func mustPlan(t *testing.T, now time.Time, hosts Hosts, current Bundle) Decision {
	t.Helper()
	decision, err := Plan(now, hosts, DefaultPolicy, current)
	if err != nil {
		t.Fatal(err)
	}
	return decision
}

// started is what the first plan makes.
func started(t *testing.T) Bundle { return mustPlan(t, noon, hosts, Bundle{}).Bundle }

func TestFirstPlan(t *testing.T) {
	decision := mustPlan(t, noon, hosts, Bundle{})
	bundle := decision.Bundle
	changes := decision.AuthorityChanges
	if len(bundle.Authorities) != 1 || len(bundle.Trusted) != 1 || len(changes) != 1 || !decision.ServingChanged {
		t.Fatalf("%d authorities, %d trusted, changes %q", len(bundle.Authorities), len(bundle.Trusted), changes)
	}
	authority, leaf := bundle.Authorities[0].Certificate, bundle.Leaf.Certificate()
	usage := x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	if !authority.IsCA || !authority.MaxPathLenZero || authority.KeyUsage != usage {
		t.Errorf("the authority is none, or more: %t %t %b", authority.IsCA, authority.MaxPathLenZero, authority.KeyUsage)
	}
	purpose := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(leaf.ExtKeyUsage, purpose) {
		t.Errorf("the serving certificate is for other things too: %t %b %v", leaf.IsCA, leaf.KeyUsage, leaf.ExtKeyUsage)
	}
	for _, certificate := range []*x509.Certificate{authority, leaf} {
		begin := noon.Add(-DefaultPolicy.ClockSkew)
		if bits := certificate.SerialNumber.BitLen(); bits < 128 || !certificate.NotBefore.Equal(begin) {
			t.Errorf("%s has a serial number of %d bits and begins at %s", nameOf(certificate), bits, certificate.NotBefore)
		}
	}
	if got := hostsOf(leaf); !slices.Equal(got, hosts) {
		t.Errorf("it is good for %q", got)
	}
	if want := noon.Add(DefaultPolicy.Overlap + DefaultPolicy.ClockSkew + time.Second); !decision.Wake.Equal(want) {
		t.Errorf("it wakes at %s, want %s", decision.Wake, want)
	}
	if again := mustPlan(t, noon, hosts, bundle); again.Changed() {
		t.Errorf("planned again it changes: %q %q", again.AuthorityChanges, again.LeafChange)
	}
}

// TestPlan checks each rule by itself: what is left of a good bundle, when, and what is said about the change.
func TestPlan(t *testing.T) {
	another := started(t)
	keyLost, allLost := func(b *Bundle) { b.Authorities = nil }, func(b *Bundle) { *b = Bundle{} }
	publishedAt := func(at time.Time) func(*Bundle) {
		return func(b *Bundle) { b.Authorities[0].PublishedAt = at }
	}
	trusted := func(certificates ...*x509.Certificate) func(*Bundle) {
		return func(b *Bundle) { b.Trusted = certificates }
	}
	besides := func(certificate *x509.Certificate) func(*Bundle) {
		return func(b *Bundle) { b.Trusted = append(b.Trusted, certificate) }
	}
	const none, twoThirds, notValid = "none that can sign", "two thirds of the life", "not valid at this time"
	for name, test := range map[string]struct {
		change func(*Bundle)
		after  time.Duration
		hosts  Hosts
		// authorities and leaf are parts of the sentences about the changes; empty where there is none.
		authorities, leaf string
	}{
		"nothing to do":              {},
		"just before the renewal":    {after: 59 * day},
		"renewal":                    {after: 61 * day, leaf: twoThirds},
		"expired":                    {after: 91 * day, leaf: notValid},
		"clock before":               {after: -2 * time.Hour, authorities: none, leaf: notValid},
		"another host":               {hosts: Hosts{"new.example"}, leaf: "is not good for new.example"},
		"a host less":                {hosts: hosts[:1]},
		"no leaf":                    {change: func(b *Bundle) { b.Leaf = nil }, leaf: "none that can be read"},
		"leaf of nobody":             {change: func(b *Bundle) { b.Leaf = another.Leaf }, leaf: "none of the authorities"},
		"key lost":                   {change: keyLost, authorities: "took over"},
		"key lost, another host":     {change: keyLost, hosts: Hosts{"new.example"}, authorities: none},
		"key lost, late":             {change: keyLost, after: 62 * day, authorities: none},
		"key lost, last moment":      {change: keyLost, after: 84 * day, authorities: none, leaf: "expires soon"},
		"all lost":                   {change: allLost, authorities: none, leaf: "none that can be read"},
		"authority two thirds":       {after: 2434 * day, authorities: twoThirds, leaf: notValid},
		"authority too old to sign":  {after: 3600 * day, authorities: none, leaf: notValid},
		"authority expired":          {after: 3651 * day, authorities: "which has expired", leaf: "none of the authorities"},
		"published in the future":    {change: publishedAt(noon.Add(day)), authorities: "was in the future"},
		"not published yet":          {change: publishedAt(time.Time{}), authorities: "clients can read"},
		"ca.crt of before":           {change: trusted(another.Trusted...), authorities: "cannot read"},
		"an authority besides":       {change: besides(another.Trusted[0]), authorities: "took over"},
		"a certificate besides":      {change: besides(another.Leaf.Certificate())},
		"ca.crt that cannot be read": {change: trusted()},
	} {
		t.Run(name, func(t *testing.T) {
			bundle := started(t)
			before := bundle
			if test.change != nil {
				test.change(&bundle)
			}
			if test.hosts == nil {
				test.hosts = hosts
			}
			decision := mustPlan(t, noon.Add(test.after), test.hosts, bundle)
			wantSaid(t, "authorities", strings.Join(decision.AuthorityChanges, "; "), test.authorities)
			wantSaid(t, "serving certificate", decision.LeafChange, test.leaf)
			if len(decision.Bundle.Trusted) != len(decision.Bundle.Authorities) {
				t.Errorf("%d authorities, but %d in ca.crt", len(decision.Bundle.Authorities), len(decision.Bundle.Trusted))
			}
			if test.leaf == "" && test.change != nil && decision.Bundle.Leaf != before.Leaf {
				t.Error("another certificate is served")
			}
		})
	}
}

// wantSaid wants a sentence with this in it, or none where it is empty.
func wantSaid(t *testing.T, about, said, want string) {
	t.Helper()
	if !strings.Contains(said, want) || (said == "") != (want == "") {
		t.Errorf("%s: %q, want %q", about, said, want)
	}
}

// TestNextAuthority follows the second authority: made, published, signing while the first one is trusted, and alone.
func TestNextAuthority(t *testing.T) {
	bundle := started(t)
	first := bundle.Authorities[0].Certificate
	at := renewAt(first).Add(time.Minute)
	bundle = mustPlan(t, at, hosts, bundle).Bundle // the operator was away for years: both are renewed
	signed := bundle.Leaf.Certificate().CheckSignatureFrom(first) == nil
	if len(bundle.Authorities) != 2 || !bundle.Trusted[0].Equal(first) || !signed {
		t.Fatal("the first authority does not sign while the second is new")
	}
	bundle = mustPlan(t, at, hosts, bundle).Bundle
	published := bundle.Authorities[1].PublishedAt
	if !published.Equal(at) {
		t.Fatalf("the second was published at %s", published)
	}
	ripe := at.Add(DefaultPolicy.Overlap + DefaultPolicy.ClockSkew)
	if early := mustPlan(t, ripe.Add(-time.Second), hosts, bundle); early.Changed() {
		t.Errorf("before the overlap has passed: %q", early.AuthorityChanges)
	}
	bundle = mustPlan(t, ripe, hosts, bundle).Bundle
	if bundle.Authorities[0].key != nil || bundle.Authorities[1].key == nil {
		t.Error("the key of the first authority is still there")
	}
	bundle = mustPlan(t, at.Add(61*day), hosts, bundle).Bundle
	second := bundle.Authorities[1].Certificate
	if bundle.Leaf.Certificate().CheckSignatureFrom(second) != nil || !bundle.Trusted[0].Equal(second) {
		t.Error("the second authority does not sign, or is not the first in ca.crt")
	}
	if !slices.ContainsFunc(bundle.Trusted, first.Equal) {
		t.Error("the first authority is not trusted any more")
	}
}

// TestAuthoritiesAreBounded loses the keys again and again.
func TestAuthoritiesAreBounded(t *testing.T) {
	bundle := started(t)
	for i := range 3 * MaxAuthorities {
		bundle.Authorities = nil
		now := noon.Add(time.Duration(i) * time.Minute)
		for range 4 {
			bundle = mustPlan(t, now, hosts, bundle).Bundle
		}
		if again := mustPlan(t, now, hosts, bundle); again.Changed() || len(bundle.Trusted) > MaxAuthorities {
			t.Fatalf("%d authorities, and changes %q", len(bundle.Trusted), again.AuthorityChanges)
		}
		if !bundle.servable(now) {
			t.Fatal("the authority that has signed the serving certificate is gone")
		}
	}
	encoded, err := encodeAuthorities(bundle.Authorities)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeAuthorities(encoded); err != nil {
		t.Error(err)
	}
}

func TestHosts(t *testing.T) {
	for value, want := range map[string]string{
		"Keyturn.Example.":     "keyturn.example",
		"\tkeyturn.svc":        "keyturn.svc",
		"*.keyturn.example":    "*.keyturn.example",
		"::ffff:10.0.0.1":      "10.0.0.1",
		"FD00:0::1":            "fd00::1",
		"fe80::1%eth0":         "has a zone",
		"":                     "neither an address nor a DNS name",
		"*":                    "neither an address nor a DNS name",
		"a.*.example":          "neither an address nor a DNS name",
		"https://keyturn.test": "neither an address nor a DNS name",
		"localhost:8443":       "neither an address nor a DNS name",
	} {
		parsed, err := ParseHosts([]string{value, value})
		if got := fmt.Sprint(parsed, err); !strings.Contains(got, want) || err == nil && len(parsed) != 1 {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
	for _, count := range []int{0, maxHosts + 1} {
		if _, err := ParseHosts(slices.Repeat([]string{"a"}, count)); err == nil {
			t.Errorf("%d hosts are accepted", count)
		}
	}
}

// TestUnreadableAuthorities checks that damage is found, and that nothing of it is quoted.
func TestUnreadableAuthorities(t *testing.T) {
	encoded, err := encodeAuthorities(started(t).Authorities)
	if err != nil {
		t.Fatal(err)
	}
	good, other := string(encoded), started(t).Authorities[0]
	leaf := started(t).Leaf
	key, err := encodeKey(other.key)
	if err != nil {
		t.Fatal(err)
	}
	inJSON := func(pem []byte) string { return strings.ReplaceAll(string(pem), "\n", `\n`) }
	only := func(certificate string) string {
		return `{"version":1,"authorities":[{"certificate":"` + certificate + `"}]}`
	}
	ill := strings.Replace(good, `"publishedAt":"2026`, `"publishedAt":"secret-garbage2026`, 1)
	replaceKey := func(with string) string {
		begin, end := strings.Index(good, `"key":"`)+len(`"key":"`), strings.Index(good, `","publishedAt"`)
		return good[:begin] + with + good[end:]
	}
	for name, test := range map[string]struct {
		document string
		want     error
	}{
		"good":              {good, nil},
		"key of another":    {replaceKey(inJSON(key)), ErrUnreadable},
		"key garbage":       {replaceKey("secret-garbage"), ErrUnreadable},
		"no key":            {replaceKey(""), nil},
		"a leaf":            {only(inJSON(leaf.certificate)), ErrUnreadable},
		"no certificate":    {only("secret-garbage"), ErrUnreadable},
		"none":              {`{"version":1,"authorities":[]}`, ErrUnreadable},
		"empty":             {``, ErrUnreadable},
		"no version":        {`{"authorities":[{}]}`, ErrUnreadable},
		"of a later time":   {strings.Replace(good, `"version":1`, `"version":2`, 1), ErrNewer},
		"time garbage":      {ill, ErrUnreadable},
		"too large":         {strings.Repeat(" ", maxDocumentBytes) + good, ErrUnreadable},
		"followed by more":  {good + good, ErrUnreadable},
		"too many of those": {`{"version":1,"authorities":[` + strings.Repeat(`{},`, MaxAuthorities) + `{}]}`, ErrUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			authorities, err := decodeAuthorities([]byte(test.document))
			if !errors.Is(err, test.want) || (err == nil) != (len(authorities) == 1) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), "PRIVATE") || strings.Contains(err.Error(), "secret-garbage")) {
				t.Errorf("the error quotes the document: %v", err)
			}
		})
	}
}

// TestFormat prints everything that has a key in every way.
func TestFormat(t *testing.T) {
	bundle := started(t)
	raw, err := bundle.Authorities[0].key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{new(big.Int).SetBytes(raw).String(), fmt.Sprintf("%x", raw), "PRIVATE KEY"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		for _, value := range []any{
			bundle, bundle.Authorities, &bundle.Authorities[0], bundle.Leaf, *bundle.Leaf, mustPlan(t, noon, hosts, Bundle{}),
		} {
			text := fmt.Sprintf(verb, value)
			for _, secret := range secrets {
				if strings.Contains(text, secret) || strings.Contains(text, "PrivateKey") {
					t.Errorf("%s of %T shows a key", verb, value)
				}
			}
		}
	}
}
