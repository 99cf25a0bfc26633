package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
)

type message struct {
	ID, Peer, Text string
	Request        bool
}

func main() {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", os.Args[1])
	}
	api := http.Client{Transport: &http.Transport{DialContext: dial}}
	for stop := false; !stop; {
		var answer struct{ Messages []message }
		check(read(&answer)(api.Get("http://localhost/v1/messages")))
		for _, it := range answer.Messages {
			fmt.Println(it.Peer, it.Text)
			reply := map[string]string{}
			if it.Request {
				reply["text"] = strings.ToUpper(it.Text)
			}
			body, _ := json.Marshal(reply)
			url := "http://localhost/v1/messages/" + it.ID + "/handled"
			check(read(new(any))(api.Post(url, "application/json", bytes.NewReader(body))))
			stop = stop || it.Text == "stop"
		}
	}
}

func read(into any) func(*http.Response, error) error {
	return func(response *http.Response, err error) error {
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode >= 300 {
			return fmt.Errorf("the answer is %s", response.Status)
		}
		return json.NewDecoder(response.Body).Decode(into)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
