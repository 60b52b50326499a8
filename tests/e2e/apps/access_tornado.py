"""Tornado, at the port that is named."""

import asyncio
import sys

import tornado.web


class Answer(tornado.web.RequestHandler):
    def get(self, word: str) -> None:
        self.write("hello")


async def main() -> None:
    tornado.web.Application([(r"/items/(.*)", Answer)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
