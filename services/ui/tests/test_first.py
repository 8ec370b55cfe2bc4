from __future__ import annotations
import httpx2
async def test_pages(ui):
    async with httpx2.AsyncClient(base_url=ui.url) as c:
        for p in ["/", "/sessions", "/sessions/4", "/sessions/1", "/servers", "/servers/1", "/servers/2", "/deployments", "/deployments/1", "/games", "/games/1", "/games/1/configs/1", "/health", "/readyz"]:
            r = await c.get(p)
            assert r.status_code == 200, (p, r.text)
