"""The web page of a running driver: what it does, live, in a browser.

The driver's loop only notes its transitions (`feed`) and answers a question once a second while
a page is open. Everything else happens elsewhere: the server in a thread of its own (`hub`,
`routes`), and what only a client may do, namely look into frames, in a process of its own
(`viewer`), which attaches as any other client does.
"""
