package authserver

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// maxBodyBytes bounds the body of every request. An ID token with many groups has a few KiB.
const maxBodyBytes = 16 << 10

// The media types of requests.
const (
	mediaForm = "application/x-www-form-urlencoded"
	mediaJSON = "application/json"
)

// body reads the body of a request, which must be of this media type.
func (c *call) body(media string) ([]byte, *refusal) {
	declared, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || declared != media {
		return nil, invalidRequest("The body must have the Content-Type " + media + ".")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBodyBytes))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, &refusal{
			status: http.StatusRequestEntityTooLarge, code: codeInvalidRequest, description: "The body has more than 16 KiB.",
		}
	}
	if err != nil {
		return nil, invalidRequest("The body could not be read to its end.")
	}
	return body, nil
}

// form is the parameters of a request.
type form struct{ values url.Values }

// repeatable are the parameters that may come more than once (RFC 8693 section 2.1, RFC 8707 section 2).
var repeatable = map[string]bool{"audience": true, "resource": true}

// form reads the parameters in the body: those in the URL do not count, because URLs end up in logs. A parameter without
// a value counts as left out, and one that comes twice spoils the request (RFC 6749 section 3.2).
func (c *call) form() (form, *refusal) {
	body, refused := c.body(mediaForm)
	if refused != nil {
		return form{}, refused
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return form{}, invalidRequest("The body is not a well-formed list of parameters.")
	}
	for name, all := range values {
		if len(all) > 1 && !repeatable[name] {
			return form{}, invalidRequest("A parameter is there more than once; send each once.")
		}
	}
	return form{values}, nil
}

func (f form) get(name string) string { return f.values.Get(name) }

// list returns the values of a parameter that may come more than once.
func (f form) list(name string) []string {
	var values []string
	for _, value := range f.values[name] {
		if value != "" {
			values = append(values, value)
		}
	}
	return values
}

// client returns the client that a request says it comes from; empty if it says nothing. Clients are public ones (RFC
// 6749 section 2.1): they name themselves, and whoever sends a secret believes in a check that is not made, so he is told.
//
// The name may also come by HTTP Basic authentication with an empty password, because that is what some libraries try
// first for a client without a secret, with the name form-encoded (RFC 6749 section 2.3.1).
func (c *call) client(f form) (string, *refusal) {
	client := f.get("client_id")
	if f.get("client_secret") != "" || f.get("client_assertion") != "" {
		return "", c.badClient()
	}
	if len(c.r.Header.Values("Authorization")) == 0 {
		return client, nil
	}
	encoded, secret, ok := c.r.BasicAuth()
	name, err := url.QueryUnescape(encoded)
	if !ok || secret != "" || err != nil {
		return "", c.badClient()
	}
	if name != "" && client != "" && name != client {
		return "", invalidRequest("The client_id is another one than the user name of the Basic authentication; send one of them.")
	}
	if name != "" {
		client = name
	}
	return client, nil
}

// clientForm reads the parameters of a request, and the client that it says it comes from.
func (c *call) clientForm() (form, string, *refusal) {
	form, refused := c.form()
	if refused != nil {
		return form, "", refused
	}
	client, refused := c.client(form)
	return form, client, refused
}

// badClient is the answer to whoever tries to authenticate as a client.
func (c *call) badClient() *refusal {
	return &refusal{
		status: http.StatusUnauthorized, code: codeInvalidClient, challenge: `Basic realm="` + c.authority.Verification.URL + `"`,
		description: "The clients of this issuer are public ones and have no secret: send client_id alone, with the " +
			"authentication method none.",
	}
}

// bearer returns the one bearer token of a request (RFC 6750 section 2.1), or "".
func (c *call) bearer() string {
	headers := c.r.Header.Values("Authorization")
	if len(headers) != 1 {
		return ""
	}
	scheme, credentials, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, bearer) {
		return ""
	}
	return strings.TrimSpace(credentials)
}

// readJSON reads a body that is one JSON object into a struct. Members that it does not have are ignored.
func (c *call) readJSON(into any) *refusal {
	body, refused := c.body(mediaJSON)
	if refused != nil {
		return refused
	}
	if err := json.Unmarshal(body, into); err != nil {
		// The error could repeat what was sent.
		return invalidRequest("The body is not the JSON object that is expected here, or a member has the wrong type.")
	}
	return nil
}

// texts is a member that may be one string or a list of strings.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(document []byte) error {
	var one string
	if err := json.Unmarshal(document, &one); err == nil {
		*t = nil
		if one != "" {
			*t = texts{one}
		}
		return nil
	}
	return json.Unmarshal(document, (*[]string)(t))
}
